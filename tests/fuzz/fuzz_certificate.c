/* Whose a client certificate is. The input is a mode and then pieces, each a length of two bytes
 * and its bytes: the certificates of the chain in DER; the last one may be the peer's trust anchors
 * instead (mode 2) or its revocation list (mode 4), in PEM. Otherwise the anchor is ours, with a
 * revocation list in mode 1. The corpus was made with openssl, to be good for a hundred years. */
#include "api/trust.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define PIECES_MAX 12
#define MODE_LISTED 1
#define MODE_ANCHORS 2
#define MODE_LIST 4
#define SAN_URI "urn:fuzz:peer"
#define SAN_DNS "peer.example"

static const char our_anchor[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBXjCCAQOgAwIBAgIUBnwhU2zfVtQACZ7p6YG0zeJbX8kwCgYIKoZIzj0EAwIw\n"
    "DTELMAkGA1UEAwwCY2EwIBcNMjYxMTIxMTA0MDUwWhgPMjEyNjA3MjAxMDQwNTBa\n"
    "MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUqNsDGqI\n"
    "NB9/svgZNbe2tDOzLD++SFWqINGAtyJBaN+KxiFIpvkItclzx6WmjnxrS/GvBVbd\n"
    "QHmmbSEwSC+6raM/MD0wDwYDVR0TAQH/BAUwAwEB/zALBgNVHQ8EBAMCAQYwHQYD\n"
    "VR0OBBYEFG54tNT+0PKnbLrZB14ZUBFQeXgLMAoGCCqGSM49BAMCA0kAMEYCIQCJ\n"
    "KqPm8s85TD5E+gHKx+wSXGLEoO7kOc8SoddNagZFQQIhAI1sW/oV5Tk7EwQ/IyTU\n"
    "IcE7suRGqk15YcyhPnRQe8XJ\n"
    "-----END CERTIFICATE-----\n";

static const char our_list[] = "-----BEGIN X509 CRL-----\n"
                               "MIG8MGQwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCY2EXDTI2MTEyMTEwNDA1MFoY\n"
                               "DzIxMjYwNzIwMTA0MDUwWjAnMCUCFFNObWgVwC0NofD0uWrugX0GLI3FFw0yNjEx\n"
                               "MjExMDQwNTBaMAoGCCqGSM49BAMCA0gAMEUCIQDwCRKSf3+EC/VWpsLjXP7WZn0s\n"
                               "9HOEzGkPqJioYTm1FwIgcRtfWDPfmi6+xyA9WPgrK2KrmB1QzabhdU+oDfSqN50=\n"
                               "-----END X509 CRL-----\n";

struct given {
    const gnutls_datum_t *anchors, *list; /* NULL: ours */
    bool listed;
};

static char *text_of(const gnutls_datum_t *piece)
{
    char *text = calloc(piece->size + 1, 1);

    FUZZ_HOLDS(text != NULL);
    memcpy(text, piece->data, piece->size);
    return text;
}

static bool find(const char *san, void *context, struct api_trust *ret)
{
    const struct given *given = context;

    if (strcmp(san, SAN_URI) != 0 && strcmp(san, SAN_DNS) != 0)
        return false;
    ret->anchors = given->anchors != NULL ? text_of(given->anchors) : strdup(our_anchor);
    if (given->list != NULL)
        ret->crls = text_of(given->list);
    else if (given->listed)
        ret->crls = strdup(our_list);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gnutls_datum_t pieces[PIECES_MAX];
    unsigned n = 0;
    unsigned mode = size > 0 ? data[0] : 0;
    struct given given = {.listed = (mode & MODE_LISTED) != 0};
    char san[API_SAN_MAX + 1];
    const char *fault;

    for (size_t at = 1; at + 2 <= size && n < PIECES_MAX; n++) {
        size_t len = (size_t)data[at] << 8 | data[at + 1];

        at += 2;
        if (len > size - at)
            len = size - at;
        pieces[n] = (gnutls_datum_t){
            .data = (unsigned char *)(uintptr_t)(data + at), .size = (unsigned)len};
        at += len;
    }
    if ((mode & MODE_ANCHORS) != 0 && n > 0)
        given.anchors = &pieces[--n];
    else if ((mode & MODE_LIST) != 0 && n > 0)
        given.list = &pieces[--n];
    memset(san, 'x', sizeof(san));
    fault = trust_check(pieces, n, find, &given, san);
    FUZZ_HOLDS(san[0] == '\0' || strcmp(san, SAN_URI) == 0 || strcmp(san, SAN_DNS) == 0);
    if (fault == NULL)
        FUZZ_HOLDS(n > 0 && san[0] != '\0');
    else
        FUZZ_HOLDS(fault[0] != '\0');
    return 0;
}
