/* os.c — the real outside world. See os.h. */
#include "daemon/os/os.h"

#include "shm/memfd.h"
#include "shm/park.h"

struct os os = {
    .now_ns = mm_now_ns,
    .memfd_new = mm_memfd_new,
    .memfd_reopen = mm_memfd_reopen,
    .memfd_prove_alone = mm_memfd_prove_alone,
    .memfd_punch = mm_memfd_punch,
    .memfd_resident = mm_memfd_resident,
};
