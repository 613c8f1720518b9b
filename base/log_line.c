#include "base/log_line.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\\ufffd"

static const char *const level_names[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
};

/* syslog(3) */
static const int journal_levels[] = {
    [LOG_LEVEL_DEBUG] = 7, [LOG_LEVEL_INFO] = 6, [LOG_LEVEL_WARN] = 4, [LOG_LEVEL_ERROR] = 3};

/* What does not fit is left out; the sizes of the header see to it that all fits. */
struct line {
    char *data;
    size_t len;
};

static void add(struct line *line, const char *s, size_t len)
{
    if (len > LOG_LINE_MAX - 2 - line->len)
        len = LOG_LINE_MAX - 2 - line->len;
    memcpy(line->data + line->len, s, len);
    line->len += len;
}

static void add_text(struct line *line, const char *s)
{
    add(line, s, strlen(s));
}

static void add_json(struct line *line, const char *s, size_t len)
{
    char escape[8];

    add_text(line, "\"");
    for (size_t i = 0; i < len;) {
        const unsigned char c = (unsigned char)s[i];
        const size_t n = text_utf8_len(s + i, len - i);

        if (n == 0) {
            add_text(line, REPLACEMENT);
        } else if (c == '"' || c == '\\') {
            (void)snprintf(escape, sizeof(escape), "\\%c", c);
            add_text(line, escape);
        } else if (c < 0x20 || c == 0x7F) {
            (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
            add_text(line, escape);
        } else {
            add(line, s + i, n);
        }
        i += n > 0 ? n : 1;
    }
    add_text(line, "\"");
}

static size_t id_len(const char *s)
{
    size_t n = strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");

    return n <= LOG_ID_MAX && (s[n] == '\0' || s[n] == ' ') ? n : 0;
}

/* The value of `key` ("request=") where a word begins with it outside of quotes: at the beginning
 * of the message, else the last one, for what others said comes between. */
static const char *find_id(const char *message, const char *key, size_t *ret_len)
{
    const size_t key_len = strlen(key);
    const char *found = NULL;
    bool quoted = false;

    for (const char *at = message; *at != '\0'; at++) {
        if (*at == '"')
            quoted = !quoted;
        if (quoted || (at > message && at[-1] != ' ') || strncmp(at, key, key_len) != 0)
            continue;
        if (id_len(at + key_len) == 0)
            continue;
        *ret_len = id_len(at + key_len);
        found = at + key_len;
        if (at == message)
            return found;
    }
    return found;
}

static void add_id(struct line *line, const char *message, const char *key, const char *member)
{
    size_t len = 0;
    const char *id = find_id(message, key, &len);

    if (id == NULL)
        return;
    add_text(line, member);
    add_json(line, id, len);
}

static void write_json(struct line *line, const struct log_event *e, size_t message_len)
{
    char pid[32];

    (void)snprintf(pid, sizeof(pid), "\",\"pid\":%d,\"message\":", e->pid);
    add_text(line, "{\"time\":\"");
    add_text(line, e->time);
    add_text(line, "\",\"level\":\"");
    add_text(line, level_names[e->level]);
    add_text(line, "\",\"service\":\"");
    add_text(line, e->process);
    add_text(line, pid);
    add_json(line, e->message, message_len);
    add_id(line, e->message, "request=", ",\"request\":");
    add_id(line, e->message, "trace=", ",\"trace\":");
    add_text(line, "}");
}

static void write_text(struct line *line, const struct log_event *e, size_t message_len)
{
    const size_t begin = line->len;
    char head[160];

    (void)snprintf(
        head, sizeof(head), "%s %s %s[%d] ", e->time, level_names[e->level], e->process, e->pid);
    add_text(line, head);
    add(line, e->message, message_len);
    /* One event stays one line. */
    for (size_t i = begin; i < line->len; i++)
        if ((unsigned char)line->data[i] < 0x20)
            line->data[i] = ' ';
}

size_t log_line_write(
    enum log_format format, const struct log_event *event, char out[static LOG_LINE_MAX])
{
    struct line line = {.data = out};
    const size_t message_len = strnlen(event->message, LOG_MESSAGE_MAX);
    char level[8];

    if (event->for_journal) {
        (void)snprintf(level, sizeof(level), "<%d>", journal_levels[event->level]);
        add_text(&line, level);
    }
    if (format == LOG_JSON)
        write_json(&line, event, message_len);
    else
        write_text(&line, event, message_len);
    line.data[line.len++] = '\n';
    return line.len;
}
