/* budget.int.c — many collected heaps under one budget: nobody starves, the sums hold as told and as seen from outside, idle heaps shrink, and
 * pressure makes heaps give. Seeds are printed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/machine.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define WAIT_MS (30000u * test_slowness())

/* ---- A collected heap in a child ---- */

struct node { struct node *next; uint64_t number, check; };
struct frame { struct node *list; };
struct mutator {
    morph_heap   *heap;
    morph_thread *me;
    morph_type    node;
    struct frame *frame;
    uint64_t      id, listed;
};

static void mutator_open(struct mutator *m, const char *name, uint64_t limit_bytes)
{
    static const uint32_t refs[] = { 0 };
    child_check_int(morph_heap_open(&m->heap, &(morph_options){ .mode = MORPH_RUNTIME, .name = name, .limit_bytes = limit_bytes,
                                                                .gc_start_bytes = limit_bytes, .no_autospawn = true,
                                                                .timeout_ms = WAIT_MS }), 0);
    child_check_int(morph_thread_attach(m->heap, &m->me), 0);
    child_check_int(morph_type_register(m->heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node), .refs = { refs, 1 } },
                                        &m->node), 0);
    m->frame = morph_frame_push(m->me, sizeof *m->frame);
    m->id = morph_heap_id(m->heap);
    m->listed = 0;
}

static struct node *node_new(struct mutator *m, uint64_t number)
{
    struct node *node = morph_new(m->me, m->node);
    if (!node)
        fprintf(stderr, "heap %llu: %s\n", (unsigned long long)m->id, morph_strerror(morph_thread_error(m->me)));
    child_check(node != NULL);
    node->number = number;
    node->check = ~number;
    return node;
}

static void list_add(struct mutator *m, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct node *node = node_new(m, m->listed++);
        node->next = m->frame->list;
        m->frame->list = node;
    }
}

static void list_drop(struct mutator *m)
{
    m->frame->list = NULL;
    m->listed = 0;
}

static void list_check(const struct mutator *m)
{
    uint64_t number = m->listed;
    for (const struct node *node = m->frame->list; node; node = node->next) {
        number--;
        child_check(node->number == number && node->check == ~number);
    }
    child_check_int(number, 0);
}

/* Blocks until the parent says so; the heap may be collected meanwhile. */
static void wait_for_parent(struct mutator *m, struct test_parent parent)
{
    morph_native_enter(m->me);
    child_check(test_parent_wait(parent));
    morph_native_leave(m->me);
}

static void mutator_close(struct mutator *m)
{
    morph_frame_pop(m->me, m->frame);
    child_check_int(morph_thread_detach(m->me), 0);
    child_check_int(morph_heap_close(m->heap), 0);
}

/* ---- From outside ---- */

/* What nobody may see broken at any moment. Segments are counted one after the other, so what one heap gives and another takes in between may be
 * counted twice: what counts is the least of a few counts. */
static void sums_hold(const struct test_daemon *daemon, uint64_t budget_bytes)
{
    uint64_t used = test_stat("resident_bytes"), seen = test_segment_bytes(daemon, 0);
    for (unsigned again = 0; again < 50 && seen > budget_bytes; again++)
        seen = test_segment_bytes(daemon, 0);
    if (used > budget_bytes || seen > budget_bytes)
        fail_msg("%llu bytes counted and %llu seen of %llu", (unsigned long long)used, (unsigned long long)seen, (unsigned long long)budget_bytes);
}

static bool child_ended(const struct test_child *child)
{
    siginfo_t info = { .si_pid = 0 };
    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

/* ---- Many under one budget ---- */

enum role { STEADY, GREEDY, IDLER, VICTIM, ROLES };
struct part { enum role role; uint64_t seed, rounds; };

/* A fixed amount of work: each round makes garbage, keeps a list, and now and then lets the list go, which by then is old garbage. */
static int do_part(void *context, struct test_parent parent)
{
    const struct part *part = context;
    struct test_random random = { part->seed };
    struct mutator m;
    mutator_open(&m, part->role == GREEDY ? "greedy" : part->role == IDLER ? "idler" : part->role == VICTIM ? "victim" : "steady", 32 * MiB);
    test_parent_write(parent, &m.id, sizeof m.id);
    for (uint64_t round = 0; round < part->rounds; round++) {
        for (uint64_t i = test_random_below(&random, 20000); i-- > 0;)
            (void)node_new(&m, i);
        list_add(&m, test_random_between(&random, 1000, part->role == GREEDY ? 12000 : 2000));
        if (m.listed > (part->role == GREEDY ? 60000u : 8000u))
            list_drop(&m);
        if (round % 8 == 7)
            list_check(&m);
        if (part->role == IDLER && round == part->rounds / 2)
            wait_for_parent(&m, parent);
    }
    list_check(&m);
    if (part->role == VICTIM)
        wait_for_parent(&m, parent);            /* it is killed wherever it is */
    mutator_close(&m);
    return 0;
}

static void many_under_one_budget(unsigned count, uint64_t budget_bytes, const char *workers)
{
    char budget[64];
    snprintf(budget, sizeof budget, "--budget=%lluM", (unsigned long long)(budget_bytes >> 20));
    struct test_daemon *daemon = test_daemon_start(budget, workers, "--heap-idle=100", "--pool-idle=200", NULL);
    struct test_random random = test_random_begin("budget.int");
    struct test_child child[16];
    struct part part[16];
    uint64_t id[16];
    bool gone[16] = { false };
    unsigned left = count;
    for (unsigned i = 0; i < count; i++) {
        part[i] = (struct part){ count == 2 ? i : i % ROLES, test_random_next(&random), 100 };
        child[i] = test_child_start((uid_t)-1, do_part, &part[i]);
    }
    for (unsigned i = 0; i < count; i++)
        assert_true(test_child_read(&child[i], &id[i], sizeof id[i]));
    uint64_t end_ns = test_now_ns() + WAIT_MS * (uint64_t)4000000;
    for (unsigned turn = 0; left > 0; turn++) {
        sums_hold(daemon, budget_bytes);
        for (unsigned i = 0; i < count; i++) {
            if (gone[i])
                continue;
            if (part[i].role == VICTIM && (turn > 3 + i || child_ended(&child[i]))) {
                test_child_kill(&child[i]);
                gone[i] = true;
                left--;
            } else if (part[i].role == IDLER && turn == 40) {
                test_child_tell(&child[i]);
            } else if (part[i].role != VICTIM && child_ended(&child[i])) {
                assert_int_equal(test_child_wait(&child[i]), 0);
                gone[i] = true;
                left--;
            }
        }
        if (test_now_ns() > end_ns)
            fail_msg("%u of %u still work", left, count);
        test_nap();
    }
    print_message("%u heaps in %s: asked %llu times, %llu collections for others, %llu of idle heaps, %llu refusals\n", count, budget + 9,
                  (unsigned long long)test_stat("budget_asks"), (unsigned long long)test_stat("budget_majors"),
                  (unsigned long long)test_stat("idle_majors"), (unsigned long long)test_stat("grants_refused"));
    assert_true(test_wait_until(test_heaps() == 0, WAIT_MS));
    test_daemon_stop(daemon);
}

static void two_heaps(void **state) { many_under_one_budget(2, 8 * MiB, "--workers=1"); }
static void five_heaps(void **state) { many_under_one_budget(5, 20 * MiB, "--workers=2"); }
static void sixteen_heaps(void **state) { many_under_one_budget(16, 60 * MiB, "--workers=1"); }
static void sixteen_heaps_of_many_workers(void **state) { many_under_one_budget(16, 56 * MiB, "--workers=4"); }

/* ---- Shares ---- */

#define NODE_BYTES 48u          /* header and payload */

/* Fills half of the heap with a list, lets it go, and stays there with all that garbage. */
static int hoard(void *context, struct test_parent parent)
{
    struct mutator m;
    mutator_open(&m, "hoard", *(uint64_t *)context);
    list_add(&m, *(uint64_t *)context / 2 / NODE_BYTES);
    list_drop(&m);
    test_parent_write(parent, &m.id, sizeof m.id);
    wait_for_parent(&m, parent);
    list_check(&m);
    mutator_close(&m);
    return 0;
}

/* Keeps a list of about `bytes` and waits with it. */
static int keep(void *context, struct test_parent parent)
{
    struct mutator m;
    mutator_open(&m, "keep", 64 * MiB);
    list_add(&m, *(uint64_t *)context / NODE_BYTES);
    test_parent_write(parent, &m.id, sizeof m.id);
    wait_for_parent(&m, parent);
    list_check(&m);
    mutator_close(&m);
    return 0;
}

static void end_child(struct test_child *child)
{
    test_child_tell(child);
    assert_int_equal(test_child_wait(child), 0);
}

/* One heap has nearly all of the budget, as garbage that it does not know of; the second one gets its share all the same. */
static void who_is_below_his_share_gets_it(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--budget=56M", "--pool-min=0", "--heap-idle=0", NULL);
    uint64_t limit = 64 * MiB, bytes = 22 * MiB, greedy, low;
    struct test_child first = test_child_start((uid_t)-1, hoard, &limit);
    assert_true(test_child_read(&first, &greedy, sizeof greedy));
    uint64_t had = test_heap_stat(greedy, "resident_bytes");
    assert_true(had > 30 * MiB);
    struct test_child second = test_child_start((uid_t)-1, keep, &bytes);
    assert_true(test_child_read(&second, &low, sizeof low));
    sums_hold(daemon, 56 * MiB);
    assert_true(test_stat("budget_majors") >= 1);
    assert_true(test_stat("budget_asks") >= 1);
    assert_true(test_heap_stat(greedy, "asks") >= 1);
    assert_true(test_heap_stat(greedy, "resident_bytes") < had);
    assert_true(test_heap_stat(low, "resident_bytes") >= bytes);
    assert_in_range(test_heap_stat(low, "share_bytes"), 26 * MiB, 28 * MiB);
    assert_true(test_heap_stat(low, "target_bytes") >= test_heap_stat(low, "share_bytes"));
    assert_int_equal(test_heap_stat(low, "refusals"), 0);
    end_child(&first);
    end_child(&second);
    test_daemon_stop(daemon);
}

/* A heap can be opened though another has everything, collected or not. */
static void one_more_can_be_opened(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--budget=40M", "--pool-min=0", "--heap-idle=0", NULL);
    uint64_t limit = 40 * MiB, greedy;
    struct test_child first = test_child_start((uid_t)-1, hoard, &limit);
    assert_true(test_child_read(&first, &greedy, sizeof greedy));
    struct client client = client_open("one more", 32 * MiB);
    morph_arena *arena;
    assert_ok(morph_arena_new(client.me, &arena));
    for (unsigned i = 0; i < 18; i++) {
        char *at = morph_arena_bytes(arena, MiB);
        if (!at)
            fail_msg("MiB %u: %s", i, morph_strerror(morph_thread_error(client.me)));
        client_fill(at, MiB, i);
    }
    sums_hold(daemon, 40 * MiB);
    morph_arena_free(arena);
    client_close(&client);
    end_child(&first);
    test_daemon_stop(daemon);
}

/* When nobody has anything to give the answer is no, soon, and what is there stays whole. */
static void what_nobody_can_give_is_refused(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--budget=48M", "--pool-min=0", NULL);
    uint64_t bytes = 30 * MiB, id;
    struct test_child holder = test_child_start((uid_t)-1, keep, &bytes);
    assert_true(test_child_read(&holder, &id, sizeof id));
    struct client client = client_open("too much", 48 * MiB);
    morph_arena *arena;
    assert_ok(morph_arena_new(client.me, &arena));
    unsigned count = 0;
    while (count < 48 && morph_arena_bytes(arena, MiB))
        count++;
    assert_true(count < 20);
    assert_error(morph_thread_error(client.me), MORPH_EBUDGET);
    sums_hold(daemon, 48 * MiB);
    morph_arena_free(arena);
    client_close(&client);
    end_child(&holder);
    test_daemon_stop(daemon);
}

/* ---- Idle ---- */

static void idle_heaps_are_collected_once_and_shrink(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--heap-idle=100", "--pool-idle=200", "--pool-min=0", "--pool-max=4K", NULL);
    uint64_t limit = 48 * MiB, first_id, second_id;
    struct test_child first = test_child_start((uid_t)-1, hoard, &limit);
    assert_true(test_child_read(&first, &first_id, sizeof first_id));
    assert_true(test_wait_until(test_stat("idle_majors") >= 1, WAIT_MS));
    assert_true(test_wait_until(test_heap_stat(first_id, "resident_bytes") <= 8 * MiB, WAIT_MS));
    assert_true(test_wait_until(test_segment_bytes(daemon, 0) <= 9 * MiB, WAIT_MS));
    uint64_t majors = test_heap_stat(first_id, "majors");
    struct test_child second = test_child_start((uid_t)-1, hoard, &limit);        /* by the time that this one has been, ... */
    assert_true(test_child_read(&second, &second_id, sizeof second_id));
    assert_true(test_wait_until(test_heap_stat(second_id, "majors") >= 1, WAIT_MS));
    assert_true(test_wait_until(test_heap_stat(second_id, "resident_bytes") <= 8 * MiB, WAIT_MS));
    assert_int_equal(test_heap_stat(first_id, "majors"), majors);               /* ... the first would have been again */
    end_child(&first);
    end_child(&second);
    test_daemon_stop(daemon);
}

/* A thread that neither allocates nor polls is asked to stop for the sake of an idle collection once, not again and again. */
static void a_thread_that_runs_on_is_asked_once(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--heap-idle=100", "--stop-deadline=20", "--workers=1", NULL);
    struct mutator busy;
    mutator_open(&busy, "busy", 32 * MiB);
    for (unsigned i = 0; i < 100000; i++)
        (void)node_new(&busy, i);
    uint64_t before = test_heap_stat(busy.id, "put_offs");
    assert_true(test_wait_until(test_heap_stat(busy.id, "put_offs") > before, WAIT_MS));
    uint64_t limit = 16 * MiB, id;
    struct test_child child = test_child_start((uid_t)-1, hoard, &limit);      /* by the time that this one has been collected, ... */
    assert_true(test_child_read(&child, &id, sizeof id));
    assert_true(test_wait_until(test_heap_stat(id, "majors") >= 1, WAIT_MS));
    assert_int_equal(test_heap_stat(busy.id, "put_offs"), before + 1);         /* ... the other would have been asked five times */
    end_child(&child);
    mutator_close(&busy);
    test_daemon_stop(daemon);
}

/* ---- Pressure ---- */

static void append(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void option_of(char *ret, size_t room, const char *name, const char *dir, const char *file)
{
    snprintf(ret, room, "--%s=%s/%s", name, dir, file);
}

static void pressure_makes_heaps_give(void **state)
{
    char dir[64], fifo[128], option[160];
    test_dir_make(dir, 0);
    snprintf(fifo, sizeof fifo, "%s/pressure", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    option_of(option, sizeof option, "pressure-file", dir, "pressure");
    struct test_daemon *daemon = test_daemon_start("--budget=256M", "--pool-min=0", "--pool-max=4K", "--heap-idle=0", "--pressure-events=",
                                                   "--pressure-quiet=2000", option, NULL);
    uint64_t limit = 64 * MiB, id;
    struct test_child child = test_child_start((uid_t)-1, hoard, &limit);
    assert_true(test_child_read(&child, &id, sizeof id));
    uint64_t used = test_stat("resident_bytes");
    assert_true(used > 30 * MiB);
    assert_int_equal(test_stat("budget_working_bytes"), 256 * MiB);
    append(fifo, "some\n");
    assert_true(test_wait_until(test_stat("pressure_events") == 1, WAIT_MS));
    assert_true(test_stat("budget_working_bytes") < used);
    assert_int_equal(test_stat("budget_bytes"), 256 * MiB);
    assert_true(test_wait_until(test_stat("resident_bytes") <= used - 8 * MiB, WAIT_MS));
    assert_true(test_wait_until(test_stat("budget_majors") == 1, WAIT_MS));
    assert_true(test_wait_until(test_stat("budget_working_bytes") == 256 * MiB, WAIT_MS));     /* quiet: back, step by step */
    end_child(&child);
    test_daemon_stop(daemon);
    test_dir_remove(dir);
}

static void counts_of_the_control_group_are_pressure(void **state)
{
    char dir[64], events[128], option[160];
    test_dir_make(dir, 0);
    snprintf(events, sizeof events, "%s/memory.events", dir);
    FILE *file = fopen(events, "we");
    assert_non_null(file);
    fputs("low 0\nhigh 3\nmax 0\noom 0\noom_kill 0\n", file);
    fclose(file);
    option_of(option, sizeof option, "pressure-events", dir, "memory.events");
    struct test_daemon *daemon = test_daemon_start("--pressure-file=", option, NULL);
    assert_int_equal(test_stat("pressure_events"), 0);
    append(events, "low 1\nhigh 4\nmax 0\noom 0\noom_kill 0\n");
    assert_true(test_wait_until(test_stat("pressure_events") >= 1, WAIT_MS));
    test_daemon_stop(daemon);
    test_dir_remove(dir);
}

static void the_kernels_pressure_is_listened_to(void **state)
{
    int fd = mm_machine_psi_open("/proc/pressure/memory");
    if (fd < 0)
        test_skip("this kernel has no memory pressure to wait for (PSI): %s", strerror(-fd));
    close(fd);
    struct test_daemon *daemon = test_daemon_start("--pressure-file=/proc/pressure/memory", "--pressure-events=", NULL);
    int wire = wire_hello(NULL);
    struct wire_packet packet;
    struct wire_answer answer;
    char sources[32];
    wire_packet_init(&packet, WIRE_STATS, 3, 0);
    assert_int_equal(wire_packet_send(wire, &packet), 0);
    assert_int_equal(wire_receive(wire, &answer, WAIT_MS), 1);
    wire_text(wire_field(&answer.body, "body"), "pressure_sources", sources, sizeof sources);
    assert_string_equal(sources, "psi");
    wire_answer_fini(&answer);
    close(wire);
    test_daemon_stop(daemon);
}

/* Nothing to listen to: said in the log, and everything works. */
static void without_a_source_the_budget_stays(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pressure-file=/nowhere", "--pressure-events=/nowhere", NULL);
    assert_true(test_wait_until(test_daemon_logged(daemon, "/nowhere cannot be waited for"), WAIT_MS));
    struct client client = client_open("plain", 8 * MiB);
    client_close(&client);
    assert_int_equal(test_stat("budget_working_bytes"), test_stat("budget_bytes"));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(two_heaps),
        test_case(five_heaps),
        test_case(sixteen_heaps),
        test_case(sixteen_heaps_of_many_workers),
        test_case(who_is_below_his_share_gets_it),
        test_case(one_more_can_be_opened),
        test_case(what_nobody_can_give_is_refused),
        test_case(idle_heaps_are_collected_once_and_shrink),
        test_case(a_thread_that_runs_on_is_asked_once),
        test_case(pressure_makes_heaps_give),
        test_case(counts_of_the_control_group_are_pressure),
        test_case(the_kernels_pressure_is_listened_to),
        test_case(without_a_source_the_budget_stays),
    };
    return test_run(cases);
}
