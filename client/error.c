/* error.c — codes and sentences, from the one list in morphmem/error.h. */
#include <errno.h>

#include "client/internal.h"

const char *morph_strerror(int error)
{
    switch (error) {
    case 0: return "no error";
#define X(name, number, sentence) case -(number): return sentence;
        MORPH_ERROR_MAP(X)
#undef X
    default: return "no error of morphmem";
    }
}

const char *morph_error_name(int error)
{
    switch (error) {
    case 0: return "MORPH_OK";
#define X(name, number, sentence) case -(number): return "MORPH_E" #name;
        MORPH_ERROR_MAP(X)
#undef X
    default: return "?";
    }
}

int morph__error_of_errno(int negative_errno)
{
    switch (-negative_errno) {
    case 0:            return 0;
    case ENOMEM:       return MORPH_EMEMORY;
    case EMFILE:
    case ENFILE:       return MORPH_EFILES;
    case EACCES:
    case EPERM:        return MORPH_EPERMISSION;
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED: return MORPH_ENODAEMON;
    case ENAMETOOLONG:
    case EINVAL:       return MORPH_EINVALID;
    case EPIPE:
    case ECONNRESET:   return MORPH_ELOST;
    case ETIMEDOUT:
    case EAGAIN:       return MORPH_ETIMEOUT;
    case EPROTO:
    case ENOMSG:
    case EBADMSG:
    case EMSGSIZE:     return MORPH_EPROTOCOL;
    case EPROTONOSUPPORT: return MORPH_EVERSION;
    default:           return MORPH_ESYSTEM;
    }
}
