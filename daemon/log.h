/* log.h — one greppable line an event, to stderr: time, level, topic, message with key=value pairs.
 *
 * Under systemd the line starts with the journal's level mark instead of the time. Ids, never addresses. Any thread. */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include "daemon/config.h"

void log_line(enum config_level level, const char *topic, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_error(topic, ...)   log_line(LEVEL_ERROR, topic, __VA_ARGS__)
#define log_warning(topic, ...) log_line(LEVEL_WARNING, topic, __VA_ARGS__)
#define log_info(topic, ...)    log_line(LEVEL_INFO, topic, __VA_ARGS__)
#define log_debug(topic, ...)   log_line(LEVEL_DEBUG, topic, __VA_ARGS__)

#endif
