/* What may be said of peers, KEKs and routes: one place for each rule, for the REST API and for
 * what the `cradle` command reads from its arguments. No database, no HSM. */
#pragma once

#include "base/cleanup.h"
#include "db/directory.h"

/** 1 to `max` bytes of UTF-8 for people, without control characters. */
bool act_name_valid(const char *name, size_t max);
/** As act_name_valid of PEER_ID_MAX, and may be a segment of a path: no '/', not "." and "..". */
bool act_peer_name_valid(const char *name);

#define ACT_NONE_MAX 160
/** 'there is no WHAT "NAME"MORE', or without the name where that is none that could be. */
const char *act_none_named(
    const char *what, const char *name, const char *more, char out[static ACT_NONE_MAX]);
/** 1..64 characters of printable ASCII without blank, quote and backslash: what an AS-ID and a KEK
 * label may be. An AS-ID may be a segment of a path, too. */
bool act_as_id_valid(const char *as_id);
#define ACT_PREFIX_TEXT_MAX (2 + EUI64_TEXT_LEN + 7) /* "0x20-63-5f-00-00-00-00-00" */
/** "20635f0000000000/24", with `separator` for the slash: 1 to 16 hexadecimal digits in any of the
 * spellings of base/eui.h, the missing ones being zeros at the end, and the number of leading bits
 * that count, 0 to 64. False when malformed, or when a bit behind those is set: then the one of the
 * two is not what was meant. */
bool act_route_parse(const char *text, char separator, struct db_join_route *ret);
/** The same of digits and bits that stand apart. */
bool act_route_make(const char *text, unsigned bits, struct db_join_route *ret);
/** "000013" or, of one network server of the network, "000013/70b3d57ed0000001": NetID and NSID. */
bool act_network_parse(
    const char *text, struct net_id *ret_net_id, bool *ret_has_ns_id, struct eui64 *ret_ns_id);
/** 16, 24 or 32 bytes of an AES key. */
bool act_key_length_valid(unsigned length);

/* Settings of a peer that are one of two words: the first for false. */
enum act_peer_choice { PEER_CHOICE_APP_S_KEY, PEER_CHOICE_SESSION_KEY_ID, N_PEER_CHOICES };
extern const char *const act_peer_words[N_PEER_CHOICES][2];
/** False when the word is none of the choice. */
bool act_peer_word_parse(enum act_peer_choice choice, const char *word, bool *ret);

/** Where answers may be posted: https, or http to a loopback address in digits, of nothing that has
 * to be escaped, without a user and a fragment, of PEER_URL_MAX. ERROR_INPUT says what is wrong. */
int act_answer_url_check(const char *url) MUST_CHECK;
/** The same of where a partner takes requests. */
int act_partner_url_check(const char *url) MUST_CHECK;
/** The name of a credential: of its files (api/credential.h) without their endings. ERROR_INPUT
 * says what is wrong. */
int act_answer_credential_check(const char *name) MUST_CHECK;
