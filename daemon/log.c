/* log.c — see log.h. A line is one write(2), so lines of several threads do not mix. */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int log_prefix(char *line, size_t capacity, enum config_level level, const char *topic)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };
    static const char journal_marks[] = "3467";
    if (getenv("JOURNAL_STREAM"))
        return snprintf(line, capacity, "<%c>%s %s: ", journal_marks[level], names[level], topic);
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(line, capacity, "%Y-%m-%dT%H:%M:%S", &utc);
    return (int)n + snprintf(line + n, capacity - n, ".%03ldZ %s %s: ", now.tv_nsec / 1000000, names[level], topic);
}

void log_line(enum config_level level, const char *topic, const char *format, ...)
{
    if (level > CONFIG(log_level))
        return;
    char line[1024];
    int n = log_prefix(line, sizeof line, level, topic);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    n += more < 0 ? 0 : more;
    if ((size_t)n > sizeof line - 2)
        n = sizeof line - 2;
    line[n] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t)n + 1);
    (void)written;              /* a full or closed stderr must not stop the service */
}
