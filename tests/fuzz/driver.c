/*
 * A fuzz target without libFuzzer, for the ordinary tests: every seed, then seeds changed at random for a while.
 *
 * driver SEEDS MS. SEEDS: one input a line, in hex (made by tools/fuzz_seeds.py). Always the same inputs in the same
 * order, of which a faster machine gets through more: what fails here fails again, and on a failure the input is said.
 */
#include "base/clock.h"
#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_SEEDS = 1000, MOST_BYTES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct str seeds[MOST_SEEDS];
static size_t n_seeds;
static uint8_t input[MOST_BYTES];
static size_t input_size;
static uint64_t random_state = 1;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

/* Async-signal-safe, as far as it goes: the process is lost anyway. */
static void say_input(int signal)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < input_size; i++) {
        const char two[2] = {digits[input[i] >> 4], digits[input[i] & 15]};

        if (write(STDERR_FILENO, two, 2) < 0)
            break;
    }
    if (write(STDERR_FILENO, "\n", 1) == 1)
        fsync(STDERR_FILENO);
    raise(signal); /* SA_RESETHAND: as without us */
}

static void read_seeds(const char *path)
{
    FILE *f = fopen(path, "re");
    char line[2 * MOST_BYTES + 2];
    unsigned byte;

    HS_CHECK(f);
    str_puts(&seeds[n_seeds++], ""); /* the empty input */
    while (n_seeds < MOST_SEEDS && fgets(line, sizeof line, f)) {
        for (const char *at = line; sscanf(at, "%2x", &byte) == 1; at += 2)
            str_add(&seeds[n_seeds], &(char){(char)byte}, 1);
        n_seeds++;
    }
    fclose(f);
}

static void take_seed(const struct str *seed)
{
    input_size = seed->len < MOST_BYTES ? seed->len : MOST_BYTES;
    memcpy(input, str_text(seed), input_size);
}

/* One change of a kind that parsers do not like: a byte, an extreme number, a cut, a repeat, a piece of another seed. */
static void change(void)
{
    static const uint64_t numbers[] = {0, 1, UINT32_MAX, UINT64_MAX, INT64_MAX, 1u << 31, 255, 65535};
    const size_t at = input_size ? next_random((uint32_t)input_size) : 0;
    const struct str *other = &seeds[next_random((uint32_t)n_seeds)];
    const size_t width = (size_t)1 << next_random(4);

    switch (next_random(6)) {
    case 0:
        if (input_size)
            input[at] ^= (uint8_t)(1u << next_random(8));
        break;
    case 1:
        if (input_size)
            input[at] = (uint8_t)next_random(256);
        break;
    case 2:
        if (at + width <= input_size)
            memcpy(input + at, &numbers[next_random(HS_COUNT(numbers))], width);
        break;
    case 3:
        input_size = at;
        break;
    case 4:
        if (input_size + width < MOST_BYTES && input_size) {
            memmove(input + at + width, input + at, input_size - at);
            input_size += width;
        }
        break;
    default:
        if (other->len && at + other->len < MOST_BYTES) {
            memcpy(input + at, other->data, other->len);
            input_size = at + other->len > input_size ? at + other->len : input_size;
        }
    }
}

static void run_one(void)
{
    uint8_t *copy = malloc(input_size ? input_size : 1); /* its end is where a sanitizer looks */

    HS_CHECK(copy);
    memcpy(copy, input, input_size);
    LLVMFuzzerTestOneInput(copy, input_size);
    free(copy);
}

int main(int argc, char **argv)
{
    const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    uint64_t n = 0;
    uint64_t until;

    HS_CHECK(argc == 3);
    for (size_t i = 0; i < HS_COUNT(signals); i++)
        sigaction(signals[i], &(struct sigaction){.sa_handler = say_input, .sa_flags = (int)SA_RESETHAND | SA_NODEFER},
                  NULL);
    read_seeds(argv[1]);
    for (size_t i = 0; i < n_seeds; i++, n++) {
        take_seed(&seeds[i]);
        run_one();
    }
    until = clock_now_ns() + strtoull(argv[2], NULL, 10) * 1000000;
    for (; clock_now_ns() < until; n++) {
        take_seed(&seeds[next_random((uint32_t)n_seeds)]);
        for (uint32_t k = 1 + next_random(4); k; k--)
            change();
        run_one();
    }
    printf("%zu seeds, %llu inputs\n", n_seeds, (unsigned long long)n);
    for (size_t i = 0; i < n_seeds; i++)
        str_release(&seeds[i]);
    return 0;
}
