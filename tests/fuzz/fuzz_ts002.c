/* Any bytes as a TS002 body: read, checked and answered; the answer is always JSON of one line. */
#include "joinserver/message.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char description[TS002_DESCRIPTION_MAX] = "";
    enum join_result result = JOIN_SUCCESS;
    struct ts002_request request;
    struct text out = {0};

    switch (ts002_read((const char *)data, size, &request, &result, description)) {
    case TS002_NOT_JSON:
        return 0;
    case TS002_OK:
        result = join_message_check(join_message_find(&request), &request, description);
        break;
    case TS002_REFUSED:
        break;
    }
    ts002_write_refusal(&out, &request, result, description);
    if (out.failed || out.len < 2 || out.data[0] != '{' || out.data[out.len - 1] != '}')
        abort();
    if (strpbrk(out.data, "\n\r") != NULL)
        abort();
    text_done(&out);
    return 0;
}
