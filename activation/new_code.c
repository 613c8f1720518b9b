#include "activation/new_code.h"

#include "activation/code_hash.h"
#include "base/clock.h"
#include <inttypes.h>
#include <string.h>

#define CODE_ROOM 128 /* bytes of its members, and of what ends the object */

void act_new_code_wipe(struct act_new_code *code)
{
    secret_wipe(code, sizeof(*code));
}

int act_new_code_make(struct act_call *call, const struct eui64 *dev_eui, uint32_t generation,
    struct act_new_code *ret)
{
    uint8_t random[DEVICE_CODE_RANDOM_LEN];
    struct keyd_claim_code clear = {.dev_eui = *dev_eui, .generation = generation};
    int r = keyd_random(
        call->worker->keyd, random, sizeof(random), 1, clock_monotonic_ms() + ACT_KEYD_DEADLINE_MS);

    if (r < 0)
        return r;
    device_code_make(random, call->caller->claim_code_length, ret->text);
    secret_wipe(random, sizeof(random));
    clear.code_len = (uint8_t)strlen(ret->text);
    memcpy(clear.code, ret->text, clear.code_len);
    r = act_code_hash(call->worker, &clear, 1, &ret->code);
    secret_wipe(&clear, sizeof(clear));
    return r;
}

int act_new_code_store(
    struct act_call *call, const struct act_new_code *code, enum db_code_renewal renewal)
{
    uint8_t name[DB_CODE_CALL_LEN];

    act_call_name(call, api_request_header(call->request, "Idempotency-Key"), name);
    return db_code_renew(
        call->worker->db, &code->code, 1, renewal, call->caller->organization_id, name);
}

void act_new_code_tell(struct act_call *call, const struct act_new_code *code, struct text *out)
{
    text_reserve(out, CODE_ROOM); /* and nowhere else is a copy of it */
    text_addf(out, "\"code\":\"%s\",\"generation\":%" PRIu32, code->text, code->code.generation);
    call->shown_once = true;
}
