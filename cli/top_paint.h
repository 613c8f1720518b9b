/* How `cradle top` shows a view: as a screen, a line or an object of JSON. Whatever a service said
 * of itself, no byte of it is a terminal's control character. */
#pragma once

#include "base/text.h"
#include "cli/top_view.h"
#include <jansson.h>

#define TOP_COLUMNS_MIN 40
#define TOP_COLUMNS_MAX 400

/** Lines of at most `columns` characters, at most `rows` of them, without a newline behind the
 * last: what does not fit is left out, the least important first. */
void top_paint_screen(struct text *out, const struct top_view *view,
    const struct top_service *services, size_t n, unsigned rows, unsigned columns);
/** One line, for who has no terminal. */
void top_paint_line(struct text *out, const struct top_view *view,
    const struct top_service *services, size_t n, const char *time);
/** The caller's; NULL: no memory. */
json_t *top_paint_json(
    const struct top_view *view, const struct top_service *services, size_t n, const char *time);
