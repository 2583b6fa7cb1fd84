/* memfd.h — sealed memory files, and address space to map them into.
 *
 * A memfd made here is sealed against shrinking, growing and further seals before anybody else sees it, so a mapping of it
 * cannot fault for lack of file. Its descriptor is a re-opened one: the kernel counts writers of a file by open(), and the
 * descriptor that memfd_create(2) itself returns is not counted, which would make a lease (below) mean nothing.
 */
#ifndef MM_MEMFD_H
#define MM_MEMFD_H

#include <stdbool.h>
#include <stdint.h>

/* A new, sealed, zero memfd of `bytes`. Returns a descriptor (caller closes) or a negative errno. `name` shows in /proc. */
int mm_memfd_new(const char *name, uint64_t bytes);

/* A second, independent open file description of a memfd, to be handed to another process. Descriptor or negative errno. */
int mm_memfd_reopen(int fd);

/* True if `fd` is a memfd of exactly `bytes` with the three seals: what a client checks before it maps what it was sent. */
bool mm_memfd_sealed(int fd, uint64_t bytes);

/* Is `fd` (from mm_memfd_new) the only descriptor, and are its own the only mappings, of this file on the whole machine? Proven by
 * taking and dropping a write lease (fcntl(2), F_SETLEASE). 0: yes. -EAGAIN: somebody still holds it. Else a negative errno. */
int mm_memfd_prove_alone(int fd);

/* Frees the pages of [off, off + bytes) (they read as zero afterwards). 0 or negative errno. */
int mm_memfd_punch(int fd, uint64_t off, uint64_t bytes);

/* Bytes of memory that the file uses now, from fstat(2); 0 on error. */
uint64_t mm_memfd_resident(int fd);

/* PROT_NONE address space of `bytes`, aligned to a chunk. NULL if there is none. Ends with munmap(2). */
void *mm_reserve(uint64_t bytes);

/* Maps [0, bytes) of `fd` shared and writable at `at` (inside a reserve; NULL: anywhere, page-aligned). Returns the address or NULL
 * with errno set. `client`: not inherited across fork. `huge`: advise 2 MiB pages. */
void *mm_map(int fd, uint64_t bytes, void *at, bool client, bool huge);

/* Brings the pages of a mapped range in, ready to be written, without changing them: one system call in place of a fault a page.
 * 0 or negative errno; -EINVAL: the kernel is older than 5.14. */
int mm_populate(void *at, uint64_t bytes);

/* Turns a mapped part of a reserve back into PROT_NONE address space. 0 or negative errno. */
int mm_unmap_to_reserve(void *at, uint64_t bytes);

#endif
