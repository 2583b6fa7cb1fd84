/* collect.int.c — letters about collections: COLLECT and LOG, root sets by letter, and what is counted in a collected heap. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/object.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define ANSWER_MS (20000u * test_slowness())

enum { MINOR, MAJOR, COMPACT };

/* ---- A collected heap ---- */

struct node { struct node *next; uint64_t number, check; };

struct collected { struct client client; morph_type node, vector; };

static int collected_try(struct collected *ret, const char *name, uint64_t limit_bytes)
{
    static const uint32_t refs[] = { 0 };
    struct collected made = { 0 };
    int r = morph_heap_open(&made.client.heap, &(morph_options){ .mode = MORPH_RUNTIME, .name = name, .limit_bytes = limit_bytes,
                                                                 .no_autospawn = true });
    r = r ? r : morph_thread_attach(made.client.heap, &made.client.me);
    r = r ? r : morph_type_register(made.client.heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node), .refs = { refs, 1 } },
                                    &made.node);
    r = r ? r : morph_type_register(made.client.heap, &(morph_type_spec){ .name = "vector", .bytes = 8, .element_bytes = 8 }, &made.vector);
    if (r == 0) {
        made.client.id = morph_heap_id(made.client.heap);
        *ret = made;
    }
    return r;
}

static struct collected collected_open(const char *name, uint64_t limit_bytes)
{
    struct collected made = { 0 };
    assert_ok(collected_try(&made, name, limit_bytes));
    return made;
}

static struct node *node_new(struct collected *heap, uint64_t number)
{
    struct node *node = morph_new(heap->client.me, heap->node);
    if (!node)
        fail_msg("no node %llu: %s", (unsigned long long)number, morph_strerror(morph_thread_error(heap->client.me)));
    node->number = number;
    node->check = ~number;
    return node;
}

static void garbage(struct collected *heap, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)node_new(heap, i);
}

/* A list of `count` nodes in `frame->list`. */
struct frame { struct node *list; };

static void list_make(struct collected *heap, struct frame *frame, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct node *node = node_new(heap, i);
        node->next = frame->list;
        frame->list = node;
    }
}

static void list_check(const struct frame *frame, unsigned count)
{
    const struct node *node = frame->list;
    for (unsigned i = count; i-- > 0; node = node->next)
        if (!node || node->number != i || node->check != ~(uint64_t)i)
            fail_msg("node %u is spoiled", i);
    assert_null(node);
}

/* ---- Letters ---- */

static void collect_send(int fd, uint64_t heap, unsigned kind)
{
    struct wire_packet packet;
    wire_packet_init(&packet, WIRE_COLLECT, 77, 2);
    wire_field_u64(&packet, "heap", heap);
    wire_field_u64(&packet, "kind", kind);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
}

struct receipt {
    uint64_t number, heap, cycle, pause_ns, stop_ns, copied_objects, promoted_objects, kept_objects, marked_objects, evac_objects, late_tid;
    char     kind[16], reason[16];
    bool     put_off;
};

static struct receipt receipt_of(const msgpack_object *report)
{
    const msgpack_object *body = wire_field(report, "body");
    assert_non_null(body);
    struct receipt receipt = {
        .number = wire_u64(body, "number"), .heap = wire_u64(body, "heap"), .cycle = wire_u64(body, "cycle"),
        .pause_ns = wire_u64(body, "pause_ns"), .stop_ns = wire_u64(body, "stop_ns"), .copied_objects = wire_u64(body, "copied_objects"),
        .promoted_objects = wire_u64(body, "promoted_objects"), .kept_objects = wire_u64(body, "kept_objects"),
        .marked_objects = wire_u64(body, "marked_objects"), .evac_objects = wire_u64(body, "evac_objects"), .late_tid = wire_u64(body, "late_tid"),
    };
    wire_text(body, "kind", receipt.kind, sizeof receipt.kind);
    wire_text(body, "reason", receipt.reason, sizeof receipt.reason);
    const msgpack_object *put_off = wire_field(body, "put_off");
    assert_true(put_off && put_off->type == MSGPACK_OBJECT_BOOLEAN);
    receipt.put_off = put_off->via.boolean;
    return receipt;
}

/* Receives the answer to COLLECT: its receipt and 0, or the error. */
static int collect_receive(int fd, struct receipt *ret_receipt)
{
    struct wire_answer answer;
    int error = 0;
    assert_int_equal(wire_receive(fd, &answer, ANSWER_MS), 1);
    assert_int_equal(answer.seq, 77);
    if (answer.id == WIRE_ERROR)
        error = -(int)wire_u64(&answer.body, "error");
    else {
        assert_int_equal(answer.id, WIRE_REPORT);
        *ret_receipt = receipt_of(&answer.body);
    }
    wire_answer_fini(&answer);
    return error;
}

static int collect(uint64_t heap, unsigned kind, struct receipt *ret_receipt)
{
    int fd = wire_hello(NULL);
    collect_send(fd, heap, kind);
    int error = collect_receive(fd, ret_receipt);
    close(fd);
    return error;
}

/* Receipts after a number; how many. */
#define LOG_MOST 400
static unsigned log_ask(uint64_t heap, uint64_t after, struct receipt *ret_receipt, int *ret_error)
{
    struct wire_packet packet;
    unsigned count = 0;
    int fd = wire_hello(NULL);
    wire_packet_init(&packet, WIRE_LOG, 5, 2);
    wire_field_u64(&packet, "heap", heap);
    wire_field_u64(&packet, "after", after);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    *ret_error = 0;
    for (bool last = false; !last;) {
        struct wire_answer answer;
        assert_int_equal(wire_receive(fd, &answer, ANSWER_MS), 1);
        if (answer.id == WIRE_ERROR) {
            *ret_error = -(int)wire_u64(&answer.body, "error");
            last = true;
        } else {
            last = wire_field(&answer.body, "last")->via.boolean;
            if (!last) {
                assert_true(count < LOG_MOST);
                ret_receipt[count++] = receipt_of(&answer.body);
            }
        }
        wire_answer_fini(&answer);
    }
    close(fd);
    return count;
}

/* ---- COLLECT ---- */

static void a_collection_is_asked_for_and_its_receipt_comes(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct collected heap = collected_open("asked", 64 * MiB);
    struct frame *frame = morph_frame_push(heap.client.me, sizeof *frame);
    struct receipt receipt;
    list_make(&heap, frame, 5000);
    garbage(&heap, 5000);
    morph_native_enter(heap.client.me);
    assert_ok(collect(heap.client.id, MINOR, &receipt));
    morph_native_leave(heap.client.me);
    assert_string_equal(receipt.kind, "minor");
    assert_string_equal(receipt.reason, "TOOL");
    assert_false(receipt.put_off);
    assert_int_equal(receipt.heap, heap.client.id);
    assert_int_equal(receipt.cycle, 1);
    assert_int_equal(receipt.copied_objects + receipt.promoted_objects + receipt.kept_objects, 5000);
    assert_int_equal(receipt.marked_objects, 0);
    list_check(frame, 5000);
    for (unsigned kind = MAJOR; kind <= COMPACT; kind++) {
        morph_native_enter(heap.client.me);
        assert_ok(collect(heap.client.id, kind, &receipt));
        morph_native_leave(heap.client.me);
        assert_string_equal(receipt.kind, kind == MAJOR ? "major" : "compact");
        assert_int_equal(receipt.copied_objects + receipt.promoted_objects + receipt.kept_objects + receipt.marked_objects +
                         receipt.evac_objects, 5000);
        list_check(frame, 5000);
    }
    assert_int_equal(receipt.cycle, 3);
    assert_int_equal(test_heap_stat(heap.client.id, "minors"), 1);
    assert_int_equal(test_heap_stat(heap.client.id, "majors"), 2);
    assert_int_equal(test_heap_stat(heap.client.id, "put_offs"), 0);
    assert_int_equal(test_stat("majors"), 2);
    uint64_t p50 = test_heap_stat(heap.client.id, "pause_p50_ns"), p999 = test_heap_stat(heap.client.id, "pause_p999_ns");
    uint64_t max = test_heap_stat(heap.client.id, "pause_max_ns");
    assert_true(p50 > 0 && p50 <= p999 && p999 <= max && max >= receipt.pause_ns);
    assert_int_equal(test_stat("pause_max_ns"), max);
    assert_true(test_heap_stat(heap.client.id, "collect_ns") >= max);
    assert_true(test_heap_stat(heap.client.id, "live_bytes") >= 5000 * sizeof(struct node));
    assert_true(test_heap_stat(heap.client.id, "live_bytes") <= 5000 * 64);
    assert_true(test_heap_stat(heap.client.id, "nursery_bytes") >= 64 * KiB);
    morph_frame_pop(heap.client.me, frame);
    client_close(&heap.client);
    assert_true(test_wait_until(test_heaps() == 0, ANSWER_MS));
    assert_int_equal(test_stat("majors"), 2);                   /* also of heaps that ended */
    assert_int_equal(test_stat("pause_max_ns"), max);
    test_daemon_stop(daemon);
}

static int collect_as_nobody(void *context, struct test_parent parent)
{
    struct receipt receipt;
    (void)parent;
    return collect(*(uint64_t *)context, MAJOR, &receipt) == MORPH_EPERMISSION ? 0 : 1;
}

static int log_as_nobody(void *context, struct test_parent parent)
{
    struct receipt receipt[LOG_MOST];
    int error, only;
    (void)parent;
    unsigned count = log_ask(0, 0, receipt, &error);
    (void)log_ask(*(uint64_t *)context, 0, receipt, &only);
    return count == 0 && error == 0 && only == MORPH_EPERMISSION ? 0 : 1;
}

/* Most of a list dies, which the collector learns in the first round: the answer comes with the last one, and what is free is free by then. */
static void a_compaction_is_answered_when_its_last_round_is_over(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct collected heap = collected_open("rounds", 64 * MiB);
    struct frame *frame = morph_frame_push(heap.client.me, sizeof *frame);
    static struct receipt log[LOG_MOST];
    struct receipt receipt;
    int error;
    list_make(&heap, frame, 200000);
    assert_ok(morph_collect(heap.client.me, MORPH_COLLECT_MAJOR));
    for (struct node *keep = frame->list, *next; keep; keep = next) {
        next = keep->next;
        for (unsigned i = 0; next && i < 40; i++)
            next = next->next;
        morph_store(heap.client.me, keep, &keep->next, next);
    }
    morph_native_enter(heap.client.me);
    assert_ok(collect(heap.client.id, COMPACT, &receipt));
    unsigned count = log_ask(heap.client.id, 0, log, &error), rounds = 0;
    assert_ok(error);
    for (unsigned i = 0; i < count; i++)
        rounds += strcmp(log[i].kind, "compact") == 0;
    assert_true(rounds >= 2);
    assert_int_equal(receipt.number, log[count - 1].number);
    morph_native_leave(heap.client.me);
    morph_frame_pop(heap.client.me, frame);
    client_close(&heap.client);
    test_daemon_stop(daemon);
}

static void what_cannot_be_collected_is_refused(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client compiler = client_open("compiler", 8 * MiB);
    struct collected heap = collected_open("runtime", 16 * MiB);
    struct receipt receipt;
    assert_error(collect(compiler.id, MAJOR, &receipt), MORPH_EMODE);
    assert_error(collect(999, MAJOR, &receipt), MORPH_ENOHEAP);
    assert_error(collect(0, MAJOR, &receipt), MORPH_ENOHEAP);
    assert_error(collect(heap.client.id, 3, &receipt), MORPH_EINVALID);
    assert_error(collect(heap.client.id, UINT32_MAX, &receipt), MORPH_EINVALID);
    if (geteuid() == 0) {
        assert_ok(morph_collect(heap.client.me, MORPH_COLLECT_MINOR));
        assert_int_equal(test_child_run(test_user_nobody(), collect_as_nobody, &heap.client.id), 0);
        assert_int_equal(test_child_run(test_user_nobody(), log_as_nobody, &heap.client.id), 0);
    }
    client_close(&compiler);
    client_close(&heap.client);
    test_daemon_stop(daemon);
}

static void a_thread_that_does_not_stop_is_named(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--stop-deadline=20", NULL);
    struct collected heap = collected_open("busy", 16 * MiB);
    struct receipt receipt;
    assert_ok(collect(heap.client.id, MINOR, &receipt));        /* this thread runs, and does not poll meanwhile */
    assert_true(receipt.put_off);
    assert_int_equal(receipt.late_tid, getpid());
    assert_true(receipt.stop_ns >= 20000000);
    assert_true(test_heap_stat(heap.client.id, "put_offs") >= 1);
    assert_true(test_heap_stat(heap.client.id, "stop_max_ns") >= 20000000);
    assert_int_equal(test_heap_stat(heap.client.id, "pause_max_ns"), 0);
    client_close(&heap.client);
    test_daemon_stop(daemon);
}

/* A heap whose thread never stops, in another process. */
static int run_for_ever(void *context, struct test_parent parent)
{
    struct collected heap;
    (void)context;
    child_check_int(collected_try(&heap, "for ever", 16 * MiB), 0);
    test_parent_write(parent, &heap.client.id, sizeof heap.client.id);
    (void)test_parent_wait(parent);
    return 0;
}

static void a_heap_that_ends_meanwhile_is_told(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--stop-deadline=60000", NULL);
    struct test_child child = test_child_start((uid_t)-1, run_for_ever, NULL);
    struct receipt receipt;
    uint64_t id;
    int asker[3];
    assert_true(test_child_read(&child, &id, sizeof id));
    for (unsigned i = 0; i < 3; i++) {
        asker[i] = wire_hello(NULL);
        collect_send(asker[i], id, i);
    }
    close(asker[0]);                                            /* one does not wait for the answer */
    assert_true(test_heaps() == 1);
    test_child_kill(&child);
    for (unsigned i = 1; i < 3; i++) {
        assert_error(collect_receive(asker[i], &receipt), MORPH_ENOHEAP);
        collect_send(asker[i], id, MAJOR);                      /* the connection goes on */
        assert_error(collect_receive(asker[i], &receipt), MORPH_ENOHEAP);
        close(asker[i]);
    }
    assert_true(test_wait_until(test_stat("connections") == 1, ANSWER_MS));
    test_daemon_stop(daemon);
}

static void a_daemon_ends_though_somebody_waits(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--stop-deadline=60000", NULL);
    struct test_child child = test_child_start((uid_t)-1, run_for_ever, NULL);
    uint64_t id;
    assert_true(test_child_read(&child, &id, sizeof id));
    int asker = wire_hello(NULL);
    collect_send(asker, id, MAJOR);
    assert_int_equal(test_heaps(), 1);
    test_daemon_stop(daemon);
    close(asker);
    test_child_kill(&child);
}

/* ---- LOG ---- */

static void the_log_tells_in_order(void **state)
{
    static struct receipt receipt[LOG_MOST];
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct collected heap[3];
    int error;
    assert_int_equal(log_ask(0, 0, receipt, &error), 0);
    assert_int_equal(error, 0);
    for (unsigned i = 0; i < 3; i++)
        heap[i] = collected_open("logged", 16 * MiB);
    for (unsigned i = 0; i < 60; i++)
        assert_ok(morph_collect(heap[i * 7 % 3].client.me, i % 5 ? MORPH_COLLECT_MINOR : MORPH_COLLECT_MAJOR));
    unsigned count = log_ask(0, 0, receipt, &error);
    assert_int_equal(count, 60);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(receipt[i].number, i + 1);
        assert_int_equal(receipt[i].heap, heap[i * 7 % 3].client.id);
        assert_int_equal(receipt[i].cycle, i / 3 + 1);
        assert_string_equal(receipt[i].kind, i % 5 ? "minor" : "major");
        assert_string_equal(receipt[i].reason, "ASKED");
    }
    assert_int_equal(log_ask(heap[1].client.id, 30, receipt, &error), 10);
    assert_int_equal(receipt[0].heap, heap[1].client.id);
    assert_true(receipt[0].number > 30);
    assert_int_equal(log_ask(0, 60, receipt, &error), 0);
    assert_int_equal(log_ask(0, UINT64_MAX, receipt, &error), 0);
    assert_int_equal(log_ask(999, 0, receipt, &error), 0);
    assert_error(error, MORPH_ENOHEAP);

    for (unsigned i = 0; i < 400; i++)                          /* more than an answer holds, and more than a heap remembers */
        assert_ok(morph_collect(heap[i < 350 ? 0 : 1].client.me, MORPH_COLLECT_MINOR));
    uint64_t after = 0, seen = 0;
    while ((count = log_ask(0, after, receipt, &error)) > 0) {
        assert_true(count <= 256);
        for (unsigned i = 0; i < count; i++) {
            assert_true(receipt[i].number > after);
            after = receipt[i].number;
        }
        seen += count;
    }
    assert_int_equal(after, 460);
    assert_int_equal(seen, 256 + 20 + 50 + 20);
    for (unsigned i = 0; i < 3; i++)
        client_close(&heap[i].client);
    assert_true(test_wait_until(test_heaps() == 0, ANSWER_MS));
    assert_int_equal(log_ask(0, 0, receipt, &error), 0);
    test_daemon_stop(daemon);
}

/* ---- Root sets by letter ---- */

static void sets_check(struct node ***set, const unsigned *size, unsigned sets)
{
    for (unsigned s = 0; s < sets; s++)
        for (unsigned i = 0; i < size[s]; i++)
            if (set[s][i] && (set[s][i]->number != s * 100000 + i || set[s][i]->check != ~set[s][i]->number))
                fail_msg("object %u of set %u is spoiled", i, s);
}

static void sets_by_letter_keep_and_follow_their_objects(void **state)
{
    static const unsigned size[] = { 1, 7, 512, 513, 1024, 3000 };
    struct test_random random = test_random_begin("collect");
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct collected heap = collected_open("letters", 64 * MiB);
    struct node **set[6], *before;
    unsigned moved = 0, total = 0;
    for (unsigned s = 0; s < 6; s++) {
        set[s] = calloc(size[s], sizeof *set[s]);
        assert_non_null(set[s]);
        total += size[s];
    }
    struct { struct node *list; } *frame = morph_frame_push(heap.client.me, sizeof *frame);
    for (unsigned s = 0; s < 6; s++) {
        for (unsigned i = size[s]; i-- > 0;) {                  /* kept by the frame until the set is reported */
            struct node *node = node_new(&heap, s * 100000 + i);
            node->next = frame->list;
            frame->list = node;
        }
        struct node *node = frame->list;
        for (unsigned i = 0; i < size[s]; i++, node = node->next)
            set[s][i] = node;
        assert_ok(morph_roots_report(heap.client.me, s * 11, (void **)set[s], size[s]));
        frame->list = NULL;
    }
    for (unsigned round = 0; round < 60; round++) {
        before = set[5][2999];
        garbage(&heap, (unsigned)test_random_below(&random, 3000));
        if (round % 3 == 0)
            assert_ok(morph_collect(heap.client.me, round % 9 ? MORPH_COLLECT_MINOR : MORPH_COLLECT_MAJOR));
        moved += set[5][2999] != before;
        sets_check(set, size, 6);
    }
    assert_true(moved > 0);
    assert_ok(morph_collect(heap.client.me, MORPH_COLLECT_MAJOR));
    assert_int_equal(test_type_named(heap.client.id, "node").objects, total);

    for (unsigned s = 0; s < 6; s++) {                          /* NULL and the same object twice are roots like others */
        set[s][0] = NULL;
        set[s][size[s] - 1] = set[s][size[s] / 2];
        assert_ok(morph_roots_report(heap.client.me, s * 11, (void **)set[s], size[s]));
    }
    assert_ok(morph_collect(heap.client.me, MORPH_COLLECT_MAJOR));
    for (unsigned s = 0; s < 6; s++) {
        assert_null(set[s][0]);
        assert_ptr_equal(set[s][size[s] - 1], set[s][size[s] / 2]);
    }
    for (unsigned s = 0; s < 6; s++)
        assert_ok(morph_roots_report(heap.client.me, s * 11, NULL, 0));
    assert_ok(morph_collect(heap.client.me, MORPH_COLLECT_MAJOR));
    assert_int_equal(test_type_named(heap.client.id, "node").objects, 0);
    morph_frame_pop(heap.client.me, frame);
    for (unsigned s = 0; s < 6; s++)
        free(set[s]);
    client_close(&heap.client);
    test_daemon_stop(daemon);
}

/* Sends a ROOTS with `halves` words, all alike; returns the error of the answer, 0 for OK. */
static int roots(int fd, uint32_t slot, uint32_t set, uint32_t total, uint32_t at, unsigned halves)
{
    static uint32_t words[1024];
    struct wire_packet packet;
    struct wire_answer answer;
    wire_packet_init(&packet, WIRE_ROOTS, 9, 5);
    wire_field_u64(&packet, "slot", slot);
    wire_field_u64(&packet, "set", set);
    wire_field_u64(&packet, "total", total);
    wire_field_u64(&packet, "at", at);
    wire_field_list(&packet, "words", words, halves);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    assert_int_equal(wire_receive(fd, &answer, ANSWER_MS), 1);
    assert_int_equal(answer.seq, 9);
    int error = answer.id == WIRE_ERROR ? -(int)wire_u64(&answer.body, "error") : 0;
    assert_true(error || answer.id == WIRE_OK);
    wire_answer_fini(&answer);
    return error;
}

struct moved { uint64_t total, at, epoch; unsigned halves; };

static int roots_get(int fd, uint32_t slot, uint32_t set, uint32_t at, struct moved *ret_moved)
{
    struct wire_packet packet;
    struct wire_answer answer;
    wire_packet_init(&packet, WIRE_ROOTS_GET, 10, 3);
    wire_field_u64(&packet, "slot", slot);
    wire_field_u64(&packet, "set", set);
    wire_field_u64(&packet, "at", at);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    assert_int_equal(wire_receive(fd, &answer, ANSWER_MS), 1);
    assert_int_equal(answer.seq, 10);
    int error = answer.id == WIRE_ERROR ? -(int)wire_u64(&answer.body, "error") : 0;
    if (!error) {
        assert_int_equal(answer.id, WIRE_ROOTS_MOVED);
        const msgpack_object *words = wire_field(&answer.body, "words");
        *ret_moved = (struct moved){ wire_u64(&answer.body, "total"), wire_u64(&answer.body, "at"), wire_u64(&answer.body, "epoch"),
                                     words ? words->via.array.size : 0 };
    }
    wire_answer_fini(&answer);
    return error;
}

static void hostile_root_sets_are_refused(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct collected other = collected_open("bystander", 16 * MiB);
    struct wire_heap heap;
    struct receipt receipt;
    struct moved moved;
    assert_int_equal(wire_heap_open_mode(&heap, "hostile", 16 * MiB, MORPH_RUNTIME), 0);
    assert_error(roots(heap.fd, WIRE_THREADS, 0, 1, 0, 2), MORPH_EINVALID);             /* slots that there are not */
    assert_error(roots(heap.fd, UINT32_MAX, 0, 1, 0, 2), MORPH_EINVALID);
    assert_error(roots(heap.fd, 0, 0, 1, 0, 1), MORPH_EINVALID);                        /* half a reference */
    assert_error(roots(heap.fd, 0, 0, 100, 0, 3), MORPH_EINVALID);
    assert_error(roots(heap.fd, 0, 0, 1, 0, 4), MORPH_EINVALID);                        /* more than it says */
    assert_error(roots(heap.fd, 0, 0, 0, 0, 2), MORPH_EINVALID);
    assert_error(roots(heap.fd, 0, 0, 10, UINT32_MAX, 2), MORPH_EINVALID);
    assert_error(roots(heap.fd, 0, 0, 10, 5, 2), MORPH_EINVALID);                       /* a part without a first one */
    assert_error(roots(heap.fd, 0, 0, UINT32_MAX, 0, 2), MORPH_EROOTS);                 /* larger than a set may be */
    assert_ok(roots(heap.fd, 0, 0, 1000, 0, 1000));
    assert_error(roots(heap.fd, 0, 0, 1000, 400, 2), MORPH_EINVALID);                   /* out of order */
    assert_error(roots(heap.fd, 0, 0, 1000, 501, 2), MORPH_EINVALID);
    assert_error(roots(heap.fd, 0, 0, 999, 500, 2), MORPH_EINVALID);                    /* another total */
    assert_error(roots(heap.fd, 1, 0, 1000, 500, 2), MORPH_EINVALID);                   /* another slot, another set */
    assert_error(roots(heap.fd, 0, 1, 1000, 500, 2), MORPH_EINVALID);
    assert_ok(collect(heap.id, MAJOR, &receipt));                                       /* half a set is no harm */
    assert_ok(roots_get(heap.fd, 0, 0, 0, &moved));
    assert_int_equal(moved.total, 1000);
    assert_int_equal(moved.halves, 1000);
    assert_error(roots_get(heap.fd, 0, 0, 500, &moved), MORPH_EINVALID);
    assert_ok(roots(heap.fd, 0, 0, 1000, 500, 1000));
    assert_error(roots(heap.fd, 0, 0, 1000, 1000, 2), MORPH_EINVALID);                  /* full */
    assert_ok(roots_get(heap.fd, 0, 0, 900, &moved));
    assert_int_equal(moved.halves, 200);
    assert_int_equal(moved.epoch % 2, 0);                                               /* no pause is on */
    assert_ok(roots_get(heap.fd, 0, 0, 0, &moved));
    assert_int_equal(moved.halves, 1024);
    assert_error(roots_get(heap.fd, 0, 0, 1000, &moved), MORPH_EINVALID);
    assert_error(roots_get(heap.fd, 0, 0, UINT32_MAX, &moved), MORPH_EINVALID);
    assert_error(roots_get(heap.fd, 3, 0, 0, &moved), MORPH_EINVALID);
    assert_error(roots_get(heap.fd, 0, 77, 0, &moved), MORPH_EINVALID);
    for (unsigned i = 0; i < 100; i++)                                                  /* begun anew again and again */
        assert_ok(roots(heap.fd, 0, 0, 1u << 20, 0, 2));
    unsigned sets = 0;
    while (sets < 100 && roots(heap.fd, 1, sets, 1u << 20, 0, 2) == 0)                  /* all sets together have a bound, too */
        sets++;
    assert_true(sets >= 1 && sets < 10);
    assert_ok(roots(heap.fd, 0, 0, 0, 0, 0));
    assert_ok(roots(heap.fd, 0, 0, 0, 0, 0));                                           /* gone already */
    assert_error(roots_get(heap.fd, 0, 0, 0, &moved), MORPH_EINVALID);
    assert_ok(collect(heap.id, MAJOR, &receipt));
    wire_heap_close(&heap);
    garbage(&other, 100);
    assert_ok(morph_collect(other.client.me, MORPH_COLLECT_MAJOR));
    client_close(&other.client);
    test_daemon_stop(daemon);
}

/* The connection of the only heap of this process. */
static int library_socket(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        int type = 0;
        socklen_t bytes = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_SEQPACKET)
            return fd;
    }
    fail_msg("the library has no socket");
    return -1;
}

/* Asks for major collections of a large heap, and reports roots all the time: some of it must fall into a pause. */
static void roots_in_a_pause_are_refused(void **state)
{
    unsigned count = 300000, refused = 0, taken = 0;
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct collected heap = collected_open("paused", 128 * MiB);
    struct frame *frame = morph_frame_push(heap.client.me, sizeof *frame);
    struct receipt receipt;
    struct moved moved;
    list_make(&heap, frame, count);
    morph_native_enter(heap.client.me);                         /* from here on this thread speaks for the library */
    int letters = library_socket(), asker = wire_hello(NULL);
    for (unsigned round = 0; round < 20 && !(refused && taken); round++) {
        collect_send(asker, heap.client.id, MAJOR);
        for (unsigned i = 0; i < 300 && !refused; i++) {
            int error = roots(letters, 0, 5, 4, 0, 8);
            assert_true(error == 0 || error == MORPH_EPROTOCOL);
            refused += error != 0;
            taken += error == 0;
        }
        if (roots_get(letters, 0, 5, 0, &moved) == 0) {         /* in a pause it waits for the end */
            assert_int_equal(moved.epoch % 2, 0);
            assert_int_equal(moved.total, 4);
        }
        assert_ok(collect_receive(asker, &receipt));
        taken += roots(letters, 0, 5, 4, 0, 8) == 0;
    }
    assert_true(taken > 0 && refused > 0);
    assert_ok(roots(letters, 0, 5, 0, 0, 0));
    close(asker);
    morph_native_leave(heap.client.me);
    list_check(frame, count);
    morph_frame_pop(heap.client.me, frame);
    client_close(&heap.client);
    test_daemon_stop(daemon);
}

/* ---- What is counted ---- */

static void objects_are_counted_wherever_they_are(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct collected heap = collected_open("counted", 64 * MiB);
    struct { struct node *list; void *large[3]; } *frame = morph_frame_push(heap.client.me, sizeof *frame);
    const uint64_t large = 100000;
    for (unsigned i = 0; i < 3; i++)
        assert_non_null(frame->large[i] = morph_new_array(heap.client.me, heap.vector, large / 8));
    for (unsigned i = 0; i < 4000; i++) {
        struct node *node = node_new(&heap, i);
        node->next = frame->list;
        frame->list = node;
    }
    uint64_t held = 4000 * mm_object_extent(sizeof(struct node)), larges = 3 * mm_object_extent(8 + large);
    assert_int_equal(test_type_named(heap.client.id, "node").objects, 4000);            /* in the nursery */
    assert_int_equal(test_type_named(heap.client.id, "vector").objects, 3);
    assert_int_equal(test_type_named(heap.client.id, "vector").bytes, 3 * (8 + large));
    assert_true(test_heap_stat(heap.client.id, "object_bytes") >= held);
    assert_true(test_heap_stat(heap.client.id, "object_bytes") <= held + larges + 128 * KiB);
    assert_int_equal(test_heap_stat(heap.client.id, "large_bytes"), larges);
    for (unsigned i = 0; i < 8; i++) {                                                  /* survivors, then old */
        assert_ok(morph_collect(heap.client.me, i == 5 ? MORPH_COLLECT_MAJOR : MORPH_COLLECT_MINOR));
        assert_int_equal(test_type_named(heap.client.id, "node").objects, 4000);
        assert_int_equal(test_type_named(heap.client.id, "node").bytes, 4000 * sizeof(struct node));
        uint64_t used = test_heap_stat(heap.client.id, "used_bytes");
        assert_true(used >= held + larges && used <= held + larges + 256 * KiB);
    }
    for (unsigned i = 0; i < 2000; i++)                                                 /* half of them, old and among others */
        frame->list = frame->list->next;
    frame->large[1] = NULL;
    assert_ok(morph_collect(heap.client.me, MORPH_COLLECT_MAJOR));
    assert_int_equal(test_type_named(heap.client.id, "node").objects, 2000);
    assert_int_equal(test_type_named(heap.client.id, "vector").objects, 2);
    assert_int_equal(test_heap_stat(heap.client.id, "large_bytes"), larges / 3 * 2);
    morph_frame_pop(heap.client.me, frame);
    client_close(&heap.client);
    test_daemon_stop(daemon);
}

/* Blocks at a steady pace: the worker learns it, sleeps in between and comes by itself. (How many calls that leaves depends on the machine, and is only printed.) */
static void the_worker_comes_by_itself(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--log-level=warning", NULL);
    struct collected heap = collected_open("steady", 64 * MiB);
    const uint64_t end_ns = test_now_ns() + (uint64_t)ANSWER_MS * 1000000;
    uint64_t naps = 0, next_ns = test_now_ns();
    while (naps < 20 && test_now_ns() < end_ns) {
        for (unsigned i = 0; i < 100; i++, next_ns += 200000) {
            garbage(&heap, 64 * KiB / (sizeof(struct node) + 8));
            while (test_now_ns() < next_ns)
                ;
        }
        naps = test_heap_stat(heap.client.id, "naps");
    }
    assert_true(naps >= 20);
    print_message("%llu naps, %llu calls\n", (unsigned long long)naps, (unsigned long long)test_heap_stat(heap.client.id, "doorbells"));
    assert_ok(morph_thread_detach(heap.client.me));
    assert_ok(morph_heap_close(heap.client.heap));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(a_collection_is_asked_for_and_its_receipt_comes),
        test_case(a_compaction_is_answered_when_its_last_round_is_over),
        test_case(what_cannot_be_collected_is_refused),
        test_case(a_thread_that_does_not_stop_is_named),
        test_case(a_heap_that_ends_meanwhile_is_told),
        test_case(a_daemon_ends_though_somebody_waits),
        test_case(the_log_tells_in_order),
        test_case(sets_by_letter_keep_and_follow_their_objects),
        test_case(hostile_root_sets_are_refused),
        test_case(roots_in_a_pause_are_refused),
        test_case(objects_are_counted_wherever_they_are),
        test_case(the_worker_comes_by_itself),
    };
    return test_run(cases);
}
