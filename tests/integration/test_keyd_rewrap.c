/* Versions of keys: what running key processes make of them, and keys that are sealed anew.
 */
#include "hsm/ceremony.h"
#include "tests/integration/keyd_fixture.h"

#include "base/clock.h"
#include "base/error.h"
#include "hsm/keyd.h"
#include "hsm/token_life.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

static char escrow[PATH_MAX];
static struct hsm_ceremony ceremony;
static uint64_t next_device = 0x20635F00C4009000;

/* Tests share the token: each goes on from the versions that the one before left. */
static void setup(void)
{
    softhsm_escrow(&keyd_test_hsm, escrow);
    ceremony = (struct hsm_ceremony){
        .uri = keyd_test_hsm.uri, .lock_file = keyd_test_hsm.lock_file, .escrow_path = escrow};
}

static unsigned rotate(enum hsm_family family)
{
    CLEANUP(text_done) struct text report = {0};
    unsigned version = 0;

    ck_assert_msg(
        hsm_ceremony_rotate(&ceremony, family, &version, &report) == 0, "%s", error_text());
    ck_assert_ptr_nonnull(strstr(report.data, "check value"));
    return version;
}

static void must(int r)
{
    ck_assert_msg(r == 0, "%s", error_text());
}

static void activate(enum hsm_family family, unsigned version)
{
    CLEANUP(text_done) struct text report = {0};

    must(hsm_ceremony_activate(&ceremony, family, version, &report));
}

static enum keyd_status join(struct keyd_channel *channel, const struct keyd_test_device *device)
{
    struct keyd_join_request request;
    struct keyd_join_reply reply;

    keyd_test_request(device, 1, false, false, &request);
    request.plan = false;
    must(keyd_answer_joins(channel, NULL, 0, &request, 1, &reply, keyd_test_deadline()));
    return reply.status;
}

static struct keyd_rewrap_reply rewrap(
    struct keyd_channel *channel, const struct keyd_test_device *device)
{
    const struct keyd_rewrap_key_request request = {.dev_eui = device->dev_eui,
        .join_eui = device->join_eui,
        .slot = KEY_SLOT_APP,
        .key = device->app};
    struct keyd_rewrap_reply reply;

    must(keyd_rewrap_keys(channel, &request, 1, &reply, keyd_test_deadline()));
    return reply;
}

START_TEST(a_version_seals_when_it_is_activated_and_running_processes_come_to_know_it)
{
    struct keyd_pool *old_pool = keyd_test_pool(1, 1, 0), *fresh_pool;
    struct keyd_test_device before, pending, after;
    char first[HSM_FAMILY_LABEL_MAX], second[HSM_FAMILY_LABEL_MAX];
    CLEANUP(text_done) struct text report = {0};
    bool never_sealed = false;
    unsigned version;

    keyd_test_adopt(keyd_pool_channel(old_pool, 0), next_device++, false, &before);
    version = rotate(HSM_FAMILY_DEVICE);
    must(hsm_ceremony_may_retire(&ceremony, HSM_FAMILY_DEVICE, version, &never_sealed));
    ck_assert(never_sealed);
    ck_assert_int_eq(
        hsm_ceremony_may_retire(&ceremony, HSM_FAMILY_DEVICE, version - 1, &never_sealed),
        ERROR_CONFIG);
    ck_assert_int_eq(
        hsm_ceremony_may_retire(&ceremony, HSM_FAMILY_DEVICE, version + 1, &never_sealed), 1);
    hsm_family_label(HSM_FAMILY_DEVICE, version - 1, first);
    hsm_family_label(HSM_FAMILY_DEVICE, version, second);
    ck_assert_int_eq(
        hsm_ceremony_rotate(&ceremony, HSM_FAMILY_DEVICE, &version, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), second) != NULL, "%s", error_text());

    fresh_pool = keyd_test_pool(1, 1, 0);
    keyd_test_adopt(keyd_pool_channel(fresh_pool, 0), next_device++, false, &pending);
    ck_assert_str_eq(pending.app.kek_label, first);
    keyd_pool_close(fresh_pool);

    activate(HSM_FAMILY_DEVICE, version);
    must(hsm_ceremony_may_retire(&ceremony, HSM_FAMILY_DEVICE, version - 1, &never_sealed));
    ck_assert(!never_sealed);
    fresh_pool = keyd_test_pool(1, 1, 0);
    keyd_test_adopt(keyd_pool_channel(fresh_pool, 0), next_device++, false, &after);
    ck_assert_str_eq(after.app.kek_label, second);
    /* Started before there was such a version, and not told of it. */
    ck_assert_int_eq(join(keyd_pool_channel(old_pool, 0), &after), KEYD_OK);
    ck_assert_int_eq(join(keyd_pool_channel(old_pool, 0), &before), KEYD_OK);
    ck_assert_int_eq(join(keyd_pool_channel(fresh_pool, 0), &before), KEYD_OK);
    ck_assert_int_eq(
        hsm_ceremony_retire(&ceremony, HSM_FAMILY_DEVICE, version, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "seals new keys") != NULL, "%s", error_text());
    keyd_pool_close(fresh_pool);
    keyd_pool_close(old_pool);
}
END_TEST

START_TEST(a_device_key_is_sealed_anew_for_its_row_alone_and_outlives_its_version)
{
    struct keyd_pool *pool = keyd_test_pool(1, 1, 0);
    struct keyd_channel *channel = keyd_pool_channel(pool, 0);
    struct keyd_test_device device, moved;
    char newest[HSM_FAMILY_LABEL_MAX];
    struct keyd_rewrap_reply reply;
    CLEANUP(text_done) struct text report = {0};
    unsigned version;

    keyd_test_adopt(channel, next_device++, false, &device);
    reply = rewrap(channel, &device);
    ck_assert_int_eq(reply.status, KEYD_OK);
    ck_assert_msg(!reply.changed, "it is under the newest");
    ck_assert_str_eq(reply.newest, device.app.kek_label);
    version = rotate(HSM_FAMILY_DEVICE);
    activate(HSM_FAMILY_DEVICE, version);
    hsm_family_label(HSM_FAMILY_DEVICE, version, newest);
    keyd_pool_close(pool);
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);

    moved = device;
    moved.dev_eui.bytes[7] ^= 1;
    ck_assert_int_eq(rewrap(channel, &moved).status, KEYD_TAG_REFUSED);
    reply = rewrap(channel, &device);
    ck_assert_int_eq(reply.status, KEYD_OK);
    ck_assert(reply.changed);
    ck_assert_str_eq(reply.sealed.kek_label, newest);
    ck_assert_int_ne(memcmp(reply.sealed.blob, device.app.blob, device.app.blob_len), 0);
    keyd_pool_close(pool);

    must(hsm_ceremony_retire(&ceremony, HSM_FAMILY_DEVICE, version - 1, &report));
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    ck_assert_int_eq(join(channel, &device), KEYD_KEK_UNKNOWN);
    device.app = reply.sealed;
    ck_assert_int_eq(join(channel, &device), KEYD_OK);
    keyd_pool_close(pool);
}
END_TEST

START_TEST(a_peers_kek_is_sealed_anew_only_while_its_version_is_open)
{
    struct keyd_pool *pool = keyd_test_pool(1, 1, 0);
    struct keyd_channel *channel = keyd_pool_channel(pool, 0);
    CLEANUP(text_done) struct text report = {0};
    struct keyd_rewrap_reply replies[2];
    struct sealed_kek keks[2];
    struct keyd_test_peers peers;
    unsigned version;

    keyd_test_peers(channel, &peers);
    version = rotate(HSM_FAMILY_KEK);
    activate(HSM_FAMILY_KEK, version);
    keyd_pool_close(pool);
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    keks[0] = peers.sealed[0];
    keks[1] = peers.sealed[1];
    (void)strncpy(keks[1].label, "another", sizeof(keks[1].label) - 1);
    must(keyd_rewrap_keks(channel, keks, 2, replies, keyd_test_deadline()));
    ck_assert_int_eq(replies[0].status, KEYD_CANNOT_EXPORT);
    ck_assert_int_eq(replies[1].status, KEYD_KEK_TAG_REFUSED);
    keyd_pool_close(pool);

    must(hsm_ceremony_open(&ceremony, HSM_FAMILY_KEK, version - 1, &report));
    ck_assert_int_eq(hsm_ceremony_open(&ceremony, HSM_FAMILY_KEK, version - 1, &report), 1);
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    must(keyd_rewrap_keks(channel, keks, 2, replies, keyd_test_deadline()));
    ck_assert_int_eq(replies[0].status, KEYD_OK);
    ck_assert(replies[0].changed);
    ck_assert_int_eq(replies[1].status, KEYD_KEK_TAG_REFUSED);
    keyd_pool_close(pool);
    must(hsm_ceremony_close(&ceremony, &report));
    must(hsm_ceremony_retire(&ceremony, HSM_FAMILY_KEK, version - 1, &report));

    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    peers.sealed[0].key = replies[0].sealed;
    keks[0] = peers.sealed[0];
    must(keyd_rewrap_keks(channel, keks, 1, replies, keyd_test_deadline()));
    ck_assert_int_eq(replies[0].status, KEYD_OK);
    ck_assert_msg(!replies[0].changed, "it is under the newest");
    keyd_pool_close(pool);
}
END_TEST

START_TEST(an_escrow_file_that_lacks_a_version_or_was_changed_is_named)
{
    CLEANUP(text_done) struct text report = {0};
    struct hsm_ceremony other = ceremony;
    char path[PATH_MAX + 8];
    unsigned version = rotate(HSM_FAMILY_DEVICE);
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s.other", escrow);
    other.escrow_path = path;
    ck_assert_int_eq(hsm_ceremony_open(&other, HSM_FAMILY_DEVICE, version, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), path) != NULL, "%s", error_text());
    f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    (void)fprintf(f, "store-device.%u %080d\n", version, 1);
    (void)fclose(f);
    ck_assert_int_eq(hsm_ceremony_open(&other, HSM_FAMILY_DEVICE, version, &report), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "does not open") != NULL, "%s", error_text());
    (void)unlink(path);
    /* What never sealed may go. */
    must(hsm_ceremony_retire(&ceremony, HSM_FAMILY_DEVICE, version, &report));
}
END_TEST

/* The fingerprint of a key as a new device of it would have it. */
static struct keyd_adopt_reply adopt_again(
    struct keyd_channel *channel, const struct keyd_test_device *device)
{
    const struct keyd_adopt_request request = {.dev_eui = device->dev_eui,
        .join_eui = device->join_eui,
        .slot = KEY_SLOT_APP,
        .key = device->app_clear};
    struct keyd_adopt_reply reply;

    must(keyd_adopt_device_keys(channel, NULL, 0, &request, 1, &reply, keyd_test_deadline()));
    ck_assert_int_eq(reply.status, KEYD_OK);
    return reply;
}

START_TEST(a_tag_names_its_version_is_made_anew_and_fingerprints_stay)
{
    struct keyd_pool *old_pool = keyd_test_pool(1, 1, 0), *pool;
    struct keyd_channel *channel = keyd_pool_channel(old_pool, 0);
    CLEANUP(text_done) struct text report = {0};
    struct keyd_adopt_reply before, pending, after;
    struct keyd_test_device device, forged;
    struct keyd_rewrap_reply reply;
    const unsigned version = 2;

    keyd_test_adopt(channel, next_device++, false, &device);
    ck_assert_uint_eq(device.app.tag_version, 1);
    before = adopt_again(channel, &device);
    ck_assert_uint_eq(rotate(HSM_FAMILY_TAG), version);
    pool = keyd_test_pool(1, 1, 0);
    pending = adopt_again(keyd_pool_channel(pool, 0), &device);
    ck_assert_uint_eq(pending.sealed.tag_version, 1);
    keyd_pool_close(pool);

    activate(HSM_FAMILY_TAG, version);
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    after = adopt_again(channel, &device);
    ck_assert_uint_eq(after.sealed.tag_version, version);
    ck_assert_mem_eq(after.fingerprint, before.fingerprint, sizeof(after.fingerprint));
    ck_assert_mem_eq(pending.fingerprint, before.fingerprint, sizeof(after.fingerprint));
    /* The old one joins, in both processes; so does the new one, of which the first had not heard.
     */
    ck_assert_int_eq(join(channel, &device), KEYD_OK);
    reply = rewrap(channel, &device);
    ck_assert_int_eq(reply.status, KEYD_OK);
    ck_assert(reply.changed);
    ck_assert_uint_eq(reply.sealed.tag_version, version);
    ck_assert_str_eq(reply.sealed.kek_label, device.app.kek_label);
    ck_assert_mem_eq(reply.sealed.blob, device.app.blob, device.app.blob_len);
    forged = device;
    forged.app.tag_version = version;
    ck_assert_int_eq(join(keyd_pool_channel(old_pool, 0), &forged), KEYD_TAG_REFUSED);
    forged.app = reply.sealed;
    ck_assert_int_eq(join(keyd_pool_channel(old_pool, 0), &forged), KEYD_OK);
    forged.app.tag_version = 1;
    ck_assert_int_eq(join(channel, &forged), KEYD_TAG_REFUSED);
    forged.app.tag_version = version + 1;
    ck_assert_int_eq(join(channel, &forged), KEYD_KEK_UNKNOWN);
    ck_assert_int_eq(
        hsm_ceremony_retire(&ceremony, HSM_FAMILY_TAG, version, &report), ERROR_CONFIG);
    keyd_pool_close(old_pool);
    keyd_pool_close(pool);

    must(hsm_ceremony_retire(&ceremony, HSM_FAMILY_TAG, 1, &report));
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    ck_assert_int_eq(join(channel, &device), KEYD_KEK_UNKNOWN);
    device.app = reply.sealed;
    ck_assert_int_eq(join(channel, &device), KEYD_OK);
    reply = rewrap(channel, &device);
    ck_assert_msg(!reply.changed, "it is under the newest");
    ck_assert_uint_eq(reply.newest_tag, version);
    after = adopt_again(channel, &device);
    ck_assert_mem_eq(after.fingerprint, before.fingerprint, sizeof(after.fingerprint));
    keyd_pool_close(pool);
}
END_TEST

/* tag.2 is the newest by now. */
START_TEST(a_keks_tag_is_made_anew_where_its_storage_kek_cannot_be_opened)
{
    struct keyd_pool *pool = keyd_test_pool(1, 1, 0);
    struct keyd_channel *channel = keyd_pool_channel(pool, 0);
    CLEANUP(text_done) struct text report = {0};
    struct keyd_rewrap_reply reply;
    struct keyd_test_peers peers;
    const unsigned kek_version = rotate(HSM_FAMILY_KEK), tag_version = rotate(HSM_FAMILY_TAG);

    keyd_test_peers(channel, &peers);
    activate(HSM_FAMILY_KEK, kek_version);
    activate(HSM_FAMILY_TAG, tag_version);
    keyd_pool_close(pool);
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    must(keyd_rewrap_keks(channel, &peers.sealed[0], 1, &reply, keyd_test_deadline()));
    ck_assert_int_eq(reply.status, KEYD_OK);
    ck_assert(reply.changed);
    ck_assert_uint_eq(reply.sealed.tag_version, tag_version);
    ck_assert_str_eq(reply.sealed.kek_label, peers.sealed[0].key.kek_label);
    /* And now it is only the storage KEK that is old. */
    peers.sealed[0].key = reply.sealed;
    must(keyd_rewrap_keks(channel, &peers.sealed[0], 1, &reply, keyd_test_deadline()));
    ck_assert_int_eq(reply.status, KEYD_CANNOT_EXPORT);
    keyd_pool_close(pool);
    must(hsm_ceremony_retire(&ceremony, HSM_FAMILY_KEK, kek_version - 1, &report));
    must(hsm_ceremony_retire(&ceremony, HSM_FAMILY_TAG, tag_version - 1, &report));
}
END_TEST

START_TEST(a_code_is_hashed_by_the_version_that_its_row_names)
{
    const struct eui64 dev_eui = {{1, 2, 3, 4, 5, 6, 7, 8}};
    const uint8_t batch[KEYD_BATCH_ID_LEN] = {7};
    struct keyd_pool *old_pool = keyd_test_pool(1, 1, 0), *pool;
    struct keyd_channel *channel = keyd_pool_channel(old_pool, 0);
    struct keyd_claim_code code = keyd_test_code(&dev_eui, 1, "ABCD");
    struct keyd_code_hash first, second, again, delivery, later;
    CLEANUP(text_done) struct text report = {0};
    unsigned version;

    must(keyd_hash_claim_codes(channel, &code, 1, &first, keyd_test_deadline()));
    must(keyd_delivery_key(channel, batch, 0, &delivery, keyd_test_deadline()));
    ck_assert_uint_eq(first.version, 1);
    ck_assert_uint_eq(delivery.version, 1);
    version = rotate(HSM_FAMILY_CODE);
    pool = keyd_test_pool(1, 1, 0);
    must(keyd_hash_claim_codes(keyd_pool_channel(pool, 0), &code, 1, &again, keyd_test_deadline()));
    ck_assert_uint_eq(again.version, 1);
    keyd_pool_close(pool);

    activate(HSM_FAMILY_CODE, version);
    pool = keyd_test_pool(1, 1, 0);
    channel = keyd_pool_channel(pool, 0);
    must(keyd_hash_claim_codes(channel, &code, 1, &second, keyd_test_deadline()));
    ck_assert_uint_eq(second.version, version);
    ck_assert_mem_ne(second.hash, first.hash, sizeof(first.hash));
    code.version = 1;
    must(keyd_hash_claim_codes(channel, &code, 1, &again, keyd_test_deadline()));
    ck_assert_uint_eq(again.version, 1);
    ck_assert_mem_eq(again.hash, first.hash, sizeof(first.hash));
    must(keyd_delivery_key(channel, batch, 1, &later, keyd_test_deadline()));
    ck_assert_mem_eq(later.hash, delivery.hash, sizeof(later.hash));
    /* A process that was not told of the version that a row names. */
    code.version = (uint16_t)version;
    must(keyd_hash_claim_codes(
        keyd_pool_channel(old_pool, 0), &code, 1, &again, keyd_test_deadline()));
    ck_assert_uint_eq(again.version, version);
    ck_assert_mem_eq(again.hash, second.hash, sizeof(second.hash));
    keyd_pool_close(old_pool);
    keyd_pool_close(pool);

    must(hsm_ceremony_retire(&ceremony, HSM_FAMILY_CODE, 1, &report));
    pool = keyd_test_pool(1, 1, 0);
    code.version = 1;
    must(keyd_hash_claim_codes(keyd_pool_channel(pool, 0), &code, 1, &again, keyd_test_deadline()));
    ck_assert_msg(again.version == version, "no row has that hash");
    ck_assert_int_eq(hsm_ceremony_open(&ceremony, HSM_FAMILY_CODE, version, &report), ERROR_CONFIG);
    keyd_pool_close(pool);
}
END_TEST

START_TEST(a_backup_is_not_whole_where_a_key_went_or_is_another)
{
    struct key_list before = {0}, after = {0};

    must(key_list_add(&before, "store-device.1", (const uint8_t[]){1, 2, 3}));
    must(key_list_add(&before, "rewrap-device.1", (const uint8_t[]){1, 2, 3}));
    must(key_list_add(&before, "pending.tag.2", (const uint8_t[]){0, 0, 0}));
    must(key_list_add(&after, "store-device.2", (const uint8_t[]){4, 5, 6}));
    ck_assert_int_eq(hsm_token_must_keep(&before, &after), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "no store-device.1") != NULL, "%s", error_text());
    must(key_list_add(&after, "store-device.1", (const uint8_t[]){1, 2, 3}));
    must(hsm_token_must_keep(&before, &after));
    after.keys[1].kcv[0] ^= 1;
    ck_assert_int_eq(hsm_token_must_keep(&before, &after), ERROR_CONFIG);
    ck_assert_msg(strstr(error_text(), "store-device.1 is another") != NULL, "%s", error_text());
}
END_TEST

/* It holds copies of keys that may be destroyed by now. Inside of this process, where the time of
 * its last look can be set. */
START_TEST(a_process_that_cannot_look_seals_nothing_and_joins_devices)
{
    static struct keyd keyd; /* too large for the stack, as these are */
    static struct keyd_request seal, join_it;
    static struct keyd_reply reply;
    struct keyd_pool *pool = keyd_test_pool(1, 1, 0);
    struct keyd_test_device device;
    int64_t began_ms;
    int lock = -1;

    keyd_test_adopt(keyd_pool_channel(pool, 0), next_device++, false, &device);
    keyd_pool_close(pool);
    seal = (struct keyd_request){.verb = KEYD_VERB_REWRAP_KEY, .n_items = 1};
    seal.rewrap_keys[0] = (struct keyd_rewrap_key_request){.dev_eui = device.dev_eui,
        .join_eui = device.join_eui,
        .slot = KEY_SLOT_APP,
        .key = device.app};
    join_it = (struct keyd_request){.verb = KEYD_VERB_JOIN, .n_items = 1};
    keyd_test_request(&device, 1, false, false, &join_it.joins[0]);
    join_it.joins[0].plan = false;

    must(p11_lock(ceremony.lock_file, &lock)); /* as a ceremony does */
    must(p11_token_open(&keyd.token, ceremony.uri, false, lock));
    must(keyd_init(&keyd));
    keyd.lock_file = ceremony.lock_file;
    keyd_serve(&keyd, &seal, &reply);
    ck_assert_int_eq(reply.rewraps[0].status, KEYD_OK);
    keyd.seen_ms -= KEYD_BEHIND_MS;
    for (int i = 0; i < 2; i++) {
        keyd_serve(&keyd, &seal, &reply);
        ck_assert_int_eq(reply.rewraps[0].status, KEYD_HSM_FAILED);
        began_ms = clock_monotonic_ms();
        keyd_serve(&keyd, &join_it, &reply);
        ck_assert_int_eq(reply.joins[0].status, KEYD_OK);
        ck_assert_int_lt(clock_monotonic_ms() - began_ms, 400); /* the lock is not waited for */
    }
    ck_assert_msg(!keyd.give_way && keyd.failures == 0, "the token is good");
    cleanup_close(&lock);
    keyd_serve(&keyd, &seal, &reply);
    ck_assert_int_eq(reply.rewraps[0].status, KEYD_OK);
    p11_token_close(&keyd.token);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_version_seals_when_it_is_activated_and_running_processes_come_to_know_it,
        a_device_key_is_sealed_anew_for_its_row_alone_and_outlives_its_version,
        a_peers_kek_is_sealed_anew_only_while_its_version_is_open,
        an_escrow_file_that_lacks_a_version_or_was_changed_is_named,
        a_tag_names_its_version_is_made_anew_and_fingerprints_stay,
        a_keks_tag_is_made_anew_where_its_storage_kek_cannot_be_opened,
        a_code_is_hashed_by_the_version_that_its_row_names,
        a_backup_is_not_whole_where_a_key_went_or_is_another,
        a_process_that_cannot_look_seals_nothing_and_joins_devices,
    };

    return keyd_test_main("keyd-rewrap", tests, sizeof(tests) / sizeof(tests[0]), setup, NULL);
}
