#include "activation/peer_known.h"

#include "activation/operator_check.h"
#include <string.h>

static bool wraps_for(const struct sealed_kek *kek, const struct db_peer *peer)
{
    struct net_id net_id;
    struct eui64 ns_id;
    bool has_ns_id;

    return kek->kek_class == KEK_CLASS_NS &&
           act_network_parse(kek->peer_id, &net_id, &has_ns_id, &ns_id) &&
           db_peer_has_net_id(peer, &net_id) && (!has_ns_id || db_peer_has_ns_id(peer, &ns_id));
}

static const struct db_peer *find_peer(
    const struct db_directory *directory, enum peer_kind kind, const char *name)
{
    for (size_t i = 0; i < directory->n_peers; i++)
        if (directory->peers[i].kind == kind && strcmp(directory->peers[i].name, name) == 0)
            return &directory->peers[i];
    return NULL;
}

static const char *kind_name(enum peer_kind kind)
{
    return kind == PEER_NETWORK_SERVER ? "network server" : "application server";
}

static bool write_partner_of_san(
    const struct db_directory *directory, const char *san, struct text *out)
{
    for (size_t i = 0; san[0] != '\0' && i < directory->n_partners; i++)
        if (strcmp(directory->partners[i].san, san) == 0) {
            text_addf(
                out, "the SAN %s is that of the partner %s", san, directory->partners[i].name);
            return true;
        }
    return false;
}

int act_peer_taken_write(struct db *db, const struct db_peer *peer, bool is_new, struct text *out)
{
    CLEANUP(db_directory_done) struct db_directory directory = {0};
    int r = db_directory_load(db, &directory);

    if (r < 0)
        return r;
    if (is_new && find_peer(&directory, peer->kind, peer->name) != NULL) {
        text_addf(out, "the %s %s is there already", kind_name(peer->kind), peer->name);
        return 0;
    }
    for (size_t i = 0; i < directory.n_peers; i++)
        if (peer->san[0] != '\0' && strcmp(directory.peers[i].san, peer->san) == 0) {
            text_addf(out, "the SAN %s is that of the %s %s", peer->san,
                kind_name(directory.peers[i].kind), directory.peers[i].name);
            return 0;
        }
    if (write_partner_of_san(&directory, peer->san, out))
        return 0;
    text_addf(out, "the %s %s or its SAN was there a moment ago: try again", kind_name(peer->kind),
        peer->name);
    return 0;
}

int act_peer_keks_write(struct db *db, const char *name, struct text *out)
{
    CLEANUP(db_directory_done) struct db_directory directory = {0};
    const struct db_peer *peer;
    size_t n = 0;
    int r = db_directory_load(db, &directory);

    if (r < 0)
        return r;
    text_add(out, ",\"current_keks\":[");
    peer = find_peer(&directory, PEER_NETWORK_SERVER, name);
    for (size_t i = 0; peer != NULL && i < directory.n_keks; i++) {
        if (!wraps_for(&directory.keks[i], peer))
            continue;
        text_add(out, n++ == 0 ? "" : ",");
        text_add_json(out, directory.keks[i].label);
    }
    text_add(out, "]");
    return 0;
}
