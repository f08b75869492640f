/*
 * answers.c - what only the reporter can decide, because plugins do: which tests stay together, and whether a test that
 * has killed its worker runs again. It says beforehand what it will answer (WIRE_ASKS); the run waits for that, and for no
 * more than the reporter's life.
 */
#include "run/state.h"

#include "base/trace.h"
#include "os/shm.h"

#include <string.h>
#include <unistd.h>

/* Takes fd over. */
int answers_groups(struct run *run, int fd, bool any, struct err *err)
{
    void *data = NULL;
    size_t size = 0;
    const size_t wanted = (size_t)run->catalog.n_items * sizeof *run->groups;

    if (run->waits_for_groups && any && shm_map(fd, false, &data, &size) == 0 && size == wanted) {
        run->groups = hs_alloc(wanted);
        memcpy(run->groups, data, wanted);
    }
    if (data)
        shm_unmap(data, size);
    close(fd);
    if (!run->waits_for_groups)
        return 0;
    run->waits_for_groups = false;
    return atomic_load(&run->segment.head->stop) ? 0 : schedule_plan(run, err);
}

void answers_ask_crash(struct run *run, uint32_t item)
{
    if (!(run->asks & WIRE_ASKS_CRASHES) || run->reporter.chan < 0)
        return;
    run->n_unanswered += !run->unanswered[item];
    run->unanswered[item] = 1;
}

/* What a later attempt finds counts, as if this one had not been. */
static void run_again(struct run *run, uint32_t item)
{
    run->n_outcome[run->result[item]]--;
    run->result[item] = OUTCOME_NONE;
    run->n_done--;
    run->expected_done_ns -= run->expected_ns[item];
    trace_event("again", TRACE_U64("item", item));
}

/* A restarted reporter answers all of them once more: who was not asked is not heard. */
void answers_crash(struct run *run, uint64_t item, bool again)
{
    if (!run->has_catalog || item >= run->catalog.n_items || !run->unanswered[item])
        return;
    run->unanswered[item] = 0;
    run->n_unanswered--;
    if (again && !atomic_load(&run->segment.head->stop) && (pool_live(run) || pool_may_restart(run, RECORD_NO_SLOT)))
        run_again(run, (uint32_t)item);
}

bool answers_awaited(const struct run *run)
{
    return run->reporter.chan >= 0 && !run->reporter.exited && !atomic_load(&run->segment.head->stop) &&
           (run->waits_for_groups || run->n_unanswered);
}
