/* segment.c — mapping what the daemon sends. Segments come in the order of their addresses. Under heap->lock. */
#include <errno.h>
#include <unistd.h>

#include "client/internal.h"
#include "shm/memfd.h"

int morph__segment_map(struct morph_heap *heap, uint32_t chunk, uint32_t chunks, int fd)
{
    uint64_t off = (uint64_t)chunk << MM_CHUNK_SHIFT, bytes = (uint64_t)chunks << MM_CHUNK_SHIFT;
    bool sane = chunk == heap->mapped_chunks && chunks > 0 && off + bytes <= heap->reserve_bytes && mm_memfd_sealed(fd, bytes);
    void *map = sane ? mm_map(fd, bytes, heap->base + off, true, heap->huge_pages) : NULL;
    close(fd);                          /* the mapping holds the file */
    if (!sane)
        return MORPH_EPROTOCOL;
    if (!map)
        return MORPH_EMEMORY;
    mm_store_release(&heap->mapped_chunks, chunk + chunks);     /* pairs with the acquire in refill.c: mapped before it is counted */
    return 0;
}
