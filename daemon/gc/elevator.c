/* elevator.c — see elevator.h. */
#include "daemon/gc/elevator.h"

#include <stdlib.h>

#include "daemon/gc/bits.h"

bool elevator_init(struct gc_elevator *elevator, uint64_t blocks)
{
    uint32_t words = (uint32_t)(blocks / 4096 + 1);
    *elevator = (struct gc_elevator){ .block = calloc(words, 64 * sizeof(uint64_t)), .word = calloc(words, sizeof(uint64_t)), .words = words };
    if (elevator->block && elevator->word)
        return true;
    elevator_free(elevator);
    return false;
}

void elevator_free(struct gc_elevator *elevator)
{
    free(elevator->block);
    free(elevator->word);
    *elevator = (struct gc_elevator){ .block = NULL };
}

static uint32_t block_behind(const struct gc_elevator *elevator, uint32_t from)
{
    uint32_t w = from / 64;
    uint64_t bits = elevator->block[w] & UINT64_MAX << from % 64;
    if (!bits) {
        w = gc_bits_next(elevator->word, elevator->words, w + 1);
        if (w == GC_NO_BIT)
            return ELEVATOR_NONE;
        bits = elevator->block[w];
    }
    return w * 64 + (uint32_t)__builtin_ctzll(bits);
}

uint32_t elevator_next(struct gc_elevator *elevator)
{
    if (!elevator->count)
        return ELEVATOR_NONE;
    uint32_t block = block_behind(elevator, elevator->at), w;
    if (block == ELEVATOR_NONE)
        block = block_behind(elevator, 0);
    w = block / 64;
    uint64_t bit = (uint64_t)1 << block % 64;
    if (__atomic_fetch_and(&elevator->block[w], ~bit, __ATOMIC_SEQ_CST) == bit)
        elevator->word[w / 64] &= ~((uint64_t)1 << w % 64);
    mm_store_relaxed(&elevator->count, elevator->count - 1);
    elevator->at = block + 1;
    return block;
}
