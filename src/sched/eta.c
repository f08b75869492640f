#include "sched/eta.h"

#define ENOUGH_NS 15e9    /* of this run, or... */
#define ENOUGH_SHARE 0.05 /* ...of what was expected: from here on the run is believed more than history */
#define OTHER_WORLD 10.0

static double greater(double a, double b)
{
    return a > b ? a : b;
}

static uint64_t to_ns(double ns)
{
    return ns < 9e18 ? (uint64_t)ns : (uint64_t)9e18; /* beyond 64 bits the conversion is undefined */
}

uint64_t eta_left_ns(const struct eta *eta)
{
    const double n_workers = eta->n_workers ? eta->n_workers : 1;
    const double wall = (double)eta->wall_ns;
    const double done = (double)eta->expected_done_ns, left = (double)eta->expected_left_ns;
    const double planned = left / n_workers;
    double evidence, slower, answer;

    if (eta->n_left == 0)
        return 0;
    if (eta->n_done == 0 || eta->wall_ns == 0 || eta->expected_done_ns == 0)
        return to_ns(greater(planned, (double)eta->longest_left_ns));

    evidence = greater(wall / ENOUGH_NS, done / (done + left) / ENOUGH_SHARE);
    slower = wall * n_workers / done;
    if (evidence >= 1 && (slower > OTHER_WORLD || slower < 1 / OTHER_WORLD))
        return to_ns(wall * eta->n_left / eta->n_done);
    evidence = evidence > 1 ? 1 : evidence;
    answer = planned * (1 - evidence) + left * (wall / done) * evidence;
    return to_ns(greater(answer, (double)eta->longest_left_ns));
}
