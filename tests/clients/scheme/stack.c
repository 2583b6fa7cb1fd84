/* stack.c — the operand stack: an array of this process whose words a visitor reports, and segments of it in the heap.
 *
 * From the bottom up it holds frames of the evaluator (eval.c says what is in one), then what the present step has gathered. Lists are
 * built on it, too: what waits there is a root.
 *
 * When the stack is full, or call/cc wants it, its frames move into segments of the heap, chained from the register `segment`; at BOTTOM
 * the topmost segment is copied back. A continuation is such a chain; nobody writes into a segment, so it can be entered any number of
 * times. This is the incremental stack/heap strategy of Clinger, Hartheimer and Ost ("Implementation strategies for first-class
 * continuations", 1999). */
#include "tests/clients/scheme/scheme.h"

#include <stdlib.h>
#include <string.h>

static void stack_visit(void *argument, morph_root_report report, void *to)
{
    struct scheme *s = argument;
    for (size_t i = 0; i < s->top; i++)
        if (is_object(s->stack[i]))
            report(to, (void **)&s->stack[i]);
}

bool stack_begin(struct scheme *s)
{
    s->stack = malloc(STACK_WORDS * sizeof *s->stack);
    s->top = 0;
    return (s->stack && morph_thread_on_roots(s->me, stack_visit, s) == 0) || scheme_fail(s, "%s", morph_strerror(MORPH_EMEMORY));
}

void stack_end(struct scheme *s)
{
    morph_thread_on_roots(s->me, NULL, NULL);
    free(s->stack);
    s->stack = NULL;
}

/* ---- Lists ---- */

value list_from_stack(struct scheme *s, size_t from, value tail)
{
    value list = tail;
    while (s->top > from && list)
        list = cons(s, s->stack[--s->top], list);
    s->top = from;
    return list;
}

value list_of(struct scheme *s, unsigned count, ...)
{
    size_t from = s->top;
    va_list list;
    va_start(list, count);
    for (unsigned i = 0; i < count; i++)
        stack_push(s, va_arg(list, value));
    va_end(list);
    return list_from_stack(s, from, NIL);
}

/* ---- Frames and segments ---- */

/* Words of the frame that ends at `top`. */
size_t stack_frame_words(const struct scheme *s, size_t top)
{
    enum kind kind = kind_of(s->stack[top - 2]);
    bool operands = kind == KIND_NODE_CALL || kind == KIND_NODE_PRIMITIVE || kind == KIND_NODE_LET;
    return FRAME_WORDS + (operands ? (size_t)fixnum_of(s->stack[top - 1]) : 0);
}

void stack_bottom(struct scheme *s)
{
    s->stack[0] = NIL;
    s->stack[1] = BOTTOM;
    s->stack[2] = fixnum(0);
    s->top = FRAME_WORDS;
}

/* A segment of the words from `from` to `to`, on top of `below`. */
static value segment_new(struct scheme *s, size_t from, size_t to, value below)
{
    s->r->first = below;
    struct segment *segment = array_new(s, KIND_SEGMENT, to - from);
    if (!segment)
        return NULL;
    store(s, segment, &segment->next, s->r->first);
    morph_copy_refs(s->me, segment, segment->word, s->stack + from, to - from);
    return segment;
}

/* Where the stack is cut into segments, from the top down; the last cut is above BOTTOM. */
static unsigned segments_cut(const struct scheme *s, size_t cut[STACK_WORDS / SEGMENT_WORDS + 1])
{
    unsigned cuts = 0;
    size_t end = s->top;
    for (size_t at = s->top; at > FRAME_WORDS; ) {
        at -= stack_frame_words(s, at);
        if (end - at >= SEGMENT_WORDS || at == FRAME_WORDS)
            end = cut[cuts++] = at;
    }
    return cuts;
}

/* All frames move into segments. */
bool stack_spill(struct scheme *s)
{
    size_t cut[STACK_WORDS / SEGMENT_WORDS + 1];
    unsigned cuts = segments_cut(s, cut);
    struct { value chain; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    f->chain = s->r->segment;
    for (unsigned i = cuts; i > 0 && f->chain; i--)
        f->chain = segment_new(s, cut[i - 1], i > 1 ? cut[i - 2] : s->top, f->chain);
    bool fine = f->chain != NULL;
    if (fine) {
        s->r->segment = f->chain;
        stack_bottom(s);
    }
    frame_pop(s, f);
    return fine;
}

/* At BOTTOM: the frames of the topmost segment come back. */
void stack_refill(struct scheme *s)
{
    struct segment *segment = s->r->segment;
    size_t count = (morph_object_bytes(segment) - sizeof *segment) / sizeof(value);
    memcpy(s->stack + FRAME_WORDS, segment->word, count * sizeof(value));
    s->top = FRAME_WORDS + count;
    s->r->segment = segment->next;
}

/* Room for so many words and the margin. Only where all words belong to frames. */
bool stack_reserve(struct scheme *s, size_t words)
{
    return s->top + words + STACK_MARGIN <= STACK_WORDS || stack_spill(s);
}
