/* fuzz_message.c — any bytes as a packet, from both directions: decoding must not harm, and what decodes must survive a round trip.
 *
 * With libFuzzer (-fsanitize=fuzzer): the harness alone. With -DMORPH_FUZZ_STANDALONE: a program that runs the files it is given,
 * or, given none, MORPH_FUZZ_RUNS (default 200000) mutations of random valid packets from MORPH_TEST_SEED.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/unit/message_helper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define DEMAND(condition)                                                                   \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

/* The second encoding may be shorter than `data` (unknown fields, wide numbers), never longer. */
static void round_trip_demand(const struct mm_message *message, enum mm_direction from, size_t bytes)
{
    static char packet[MM_PACKET_MAX];
    struct mm_message again;
    size_t again_bytes = 0;
    memset(&again, 0xa5, sizeof again);
    DEMAND(mm_message_encode(message, packet, sizeof packet, &again_bytes) == 0);
    DEMAND(again_bytes <= bytes);
    DEMAND(mm_message_decode(packet, again_bytes, from, &again) == 0);
    DEMAND(helper_message_equal(message, &again));
}

static void one_direction(const uint8_t *data, size_t bytes, enum mm_direction from)
{
    struct mm_message message;
    memset(&message, 0xa5, sizeof message);
    int r = mm_message_decode(data, bytes, from, &message);
    DEMAND(r == 0 || r == -EPROTO || r == -ENOMSG || r == -EBADMSG);
    if (r == -ENOMSG)
        DEMAND(!mm_message_info(message.id));
    if (r == -EBADMSG)
        DEMAND(mm_message_info(message.id) && mm_message_info(message.id)->from != from);
    if (r == 0)
        round_trip_demand(&message, from, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    one_direction(data, bytes, MM_FROM_CLIENT);
    one_direction(data, bytes, MM_FROM_DAEMON);
    return 0;
}

#ifdef MORPH_FUZZ_STANDALONE

/* A copy of exactly that length, so that a sanitizer sees the first byte read beyond it. */
static void exact_run(const unsigned char *packet, size_t bytes)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    DEMAND(exact);
    memcpy(exact, packet, bytes);
    LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
}

static int file_run(const char *path)
{
    static unsigned char packet[2 * MM_PACKET_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    size_t bytes = fread(packet, 1, sizeof packet, file);
    fclose(file);
    exact_run(packet, bytes);
    return 0;
}

static void random_run(struct test_random *random)
{
    static unsigned char packet[MM_PACKET_MAX];
    static struct mm_message message;
    unsigned count;
    const struct mm_message_info *list = mm_message_list(&count);
    size_t bytes = 0;
    helper_message_fill(&list[test_random_below(random, count)], &message, random);
    DEMAND(mm_message_encode(&message, packet, sizeof packet, &bytes) == 0);
    for (unsigned changes = test_random_below(random, 6); changes > 0; changes--)
        helper_mutate(random, packet, &bytes, sizeof packet);
    exact_run(packet, bytes);
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= file_run(argv[i]);
    if (argc > 1)
        return failed;
    const char *given = getenv("MORPH_FUZZ_RUNS");
    unsigned long runs = given && *given ? strtoul(given, NULL, 0) : 200000;
    struct test_random random = test_random_begin("fuzz_message");
    for (unsigned long i = 0; i < runs; i++)
        random_run(&random);
    fprintf(stderr, "fuzz_message: %lu packets, no complaint\n", runs);
    return 0;
}

#endif
