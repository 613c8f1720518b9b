/* Peers and their KEKs as the operator lists, revokes and changes them (role cradle_activation).
 * Nothing here reads a token's hash or a sealed key back. Peers are added in db/directory.h.
 *
 * A list has at most `n_max` entries, those after the entry with that number (0, or NULL: from the
 * first). */
#pragma once

#include "db/directory.h"
#include "db/text.h"

#define KEK_ID_LEN 16

struct db_peer_entry {
    struct db_peer peer; /* of it id, kind, name, SAN and how it is answered */
    char *net_ids;       /* "000013,000024" on the heap; NULL without one */
    char *ns_ids;        /* in the same way */
    char created[DB_TIME_TEXT_LEN + 1];
    char revoked[DB_TIME_TEXT_LEN + 1]; /* "" while it is good */
};
struct db_peer_list {
    struct db_peer_entry *entries;
    size_t n;
};
/** Of a kind, the revoked ones too, by age. Release with db_peer_list_done. */
int db_peer_list_load(
    struct db *db, enum peer_kind kind, int64_t after, size_t n_max, struct db_peer_list *ret);
void db_peer_list_done(struct db_peer_list *list);
/** The one that is good, else the one of this name that was revoked last; with its trust_anchor and
 * crl. Release with db_peer_entry_done in every case. Outcome 1: no such peer. */
int db_peer_find(struct db *db, enum peer_kind kind, const char *name, struct db_peer_entry *ret);
void db_peer_entry_done(struct db_peer_entry *entry);
/** For good. Outcome 1: no such peer, or it is revoked already. */
int db_peer_revoke(struct db *db, enum peer_kind kind, const char *name);

struct db_kek_entry {
    int64_t row_id;
    uint8_t id[KEK_ID_LEN];
    enum peer_kind peer_kind;
    char peer_id[PEER_ID_MAX + 1];
    enum kek_class kek_class;
    char label[KEK_LABEL_MAX + 1];
    bool is_current;
    char created[DB_TIME_TEXT_LEN + 1];
};
struct db_kek_list {
    struct db_kek_entry *entries;
    size_t n;
};
/** By age. */
int db_kek_list_load(struct db *db, int64_t after, size_t n_max, struct db_kek_list *ret);
void db_kek_list_done(struct db_kek_list *list);

/** Outcome 1: no such KEK. */
int db_kek_find(struct db *db, const uint8_t id[static KEK_ID_LEN], struct db_kek_entry *ret);

/** Whether there is a KEK with this peer, class and label, and if so, whether it may be this key:
 * a key that is sealed twice under one storage KEK is the same bytes (RFC 3394); under two it
 * cannot be told. Outcome 1: there is none. */
int db_kek_compare(struct db *db, const struct sealed_kek *kek, bool *ret_may_be_same);

/* Changes of one peer's KEKs wait for each other, until the transaction of the first ends. */
/** Adds a KEK, which becomes the current one of its peer and class. `ret_id` (KEK_ID_LEN bytes) may
 * be NULL. Outcome 1: the label is there already. */
int db_kek_add(struct db *db, const struct sealed_kek *kek, uint8_t *ret_id);
/** The same of a KEK that its peer has yet to get: a current one stays the current one. */
int db_kek_add_spare(struct db *db, const struct sealed_kek *kek, uint8_t *ret_id);
/** Makes another KEK of the peer the one that wraps. Outcome 1: no such KEK. */
int db_kek_use(struct db *db, const uint8_t id[static KEK_ID_LEN]);
enum { DB_KEK_UNKNOWN = 1, DB_KEK_IS_CURRENT = 2 };
/** Removes a KEK. The current one stays (DB_KEK_IS_CURRENT), for without it the peer gets no keys
 * or keys in clear; unless `last`, and the peer has no other of that class. Other outcome:
 * DB_KEK_UNKNOWN. */
int db_kek_revoke(struct db *db, const uint8_t id[static KEK_ID_LEN], bool last);
