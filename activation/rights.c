#include "activation/rights.h"

#include "db/account.h"

static const struct {
    unsigned roles;
    const char *text;
} rights[N_ACT_RIGHTS] = {
    [RIGHT_HEALTH] = {ROLES_ANYONE, "ask for the service's health"},
    [RIGHT_METRICS] = {ROLES_ANYONE, "read the service's counters"},
    [RIGHT_DESCRIPTION] = {ROLES_ANYONE, "read the service's description"},
    [RIGHT_TOKEN] = {ROLES_ANYONE, "ask for an access token"},
    [RIGHT_ORGANIZATIONS] = {ROLE_ADMIN, "manage organizations"},
    [RIGHT_ORGANIZATION] = {ROLES_CLIENT, "see an organization"},
    [RIGHT_CLIENTS] = {ROLE_ADMIN, "manage clients"},
    [RIGHT_AUDIT] = {(unsigned)ROLE_ADMIN | (unsigned)ROLE_AUDITOR, "read audit events"},
    [RIGHT_JOBS] = {ROLES_CLIENT, "see jobs"},
    [RIGHT_JOBS_CANCEL] = {ROLES_MAKER | (unsigned)ROLE_OWNER | (unsigned)ROLE_OPERATOR,
        "cancel jobs"},
    [RIGHT_PEERS] = {ROLE_OPERATOR, "manage network and application servers"},
    [RIGHT_KEKS] = {ROLE_OPERATOR, "manage key encryption keys"},
    [RIGHT_JOIN_ROUTES] = {ROLE_OPERATOR, "manage join routes"},
    [RIGHT_PARTNERS] = {ROLE_OPERATOR, "manage partners"},
    [RIGHT_CERTIFICATES] = {ROLE_ADMIN, "manage certificates"},
    [RIGHT_CERTIFICATES_SEE] = {ROLES_MAKER | (unsigned)ROLE_ADMIN, "see certificates"},
    [RIGHT_EUI_BLOCKS_MAKE] = {ROLE_ADMIN, "manage blocks of identifiers"},
    [RIGHT_EUI_BLOCKS] = {ROLES_MAKER | (unsigned)ROLE_ADMIN, "see blocks of identifiers"},
    [RIGHT_ORDER] = {ROLE_MODULE_MAKER, "order credentials"},
    [RIGHT_ORDER_DECIDE] = {ROLE_MODULE_MAKER, "decide about orders"},
    [RIGHT_ID_PAC] = {ROLES_MAKER, "make devices activable"},
    [RIGHT_IMPORT] = {ROLES_MAKER, "import devices"},
    [RIGHT_BATCHES] = {ROLES_MAKER, "see batches"},
    [RIGHT_CODES] = {ROLES_MAKER, "have claim codes made"},
    [RIGHT_TEST_WINDOWS] = {ROLES_MAKER, "have devices tested"},
    [RIGHT_CLAIM] = {ROLE_OWNER, "claim devices"},
    [RIGHT_CLAIM_TTJS] = {ROLE_APPLICATION_SERVER, "claim devices as an application server"},
    [RIGHT_DEVICES_CHANGE] = {ROLE_OWNER, "change devices"},
    [RIGHT_MOVES] = {ROLES_MAKER | (unsigned)ROLE_OWNER | (unsigned)ROLE_OPERATOR, "move devices"},
    [RIGHT_DEVICES] = {ROLES_MAKER | (unsigned)ROLE_OWNER, "see devices"},
    [RIGHT_QUARANTINE] = {ROLES_MAKER | (unsigned)ROLE_OWNER | (unsigned)ROLE_OPERATOR,
        "quarantine devices"},
    [RIGHT_RULES_MAKE] = {ROLES_MAKER, "make claim rules"},
    [RIGHT_RULES] = {ROLES_MAKER | (unsigned)ROLE_OWNER, "see and end claim rules"},
    [RIGHT_POLICY] = {ROLE_OWNER, "see and set a policy"},
    [RIGHT_OFFERS] = {ROLE_OWNER, "see offers"},
    [RIGHT_WEBHOOKS] = {ROLES_MAKER | (unsigned)ROLE_OWNER, "manage webhooks"},
    [RIGHT_SUBSCRIPTIONS] = {(unsigned)ROLE_ADMIN | (unsigned)ROLE_OPERATOR | (unsigned)ROLE_OWNER,
        "see subscriptions"},
    [RIGHT_SUBSCRIPTIONS_CHANGE] = {(unsigned)ROLE_ADMIN | (unsigned)ROLE_OPERATOR,
        "change subscriptions"},
    [RIGHT_FILES] = {ROLE_MODULE_MAKER, "have the files of an order"},
    [RIGHT_EXPORT] = {ROLES_MAKER | (unsigned)ROLE_OWNER, "export devices"},
};

unsigned act_right_roles(enum act_right right)
{
    return rights[right].roles;
}

bool act_right_allows(enum act_right right, unsigned roles)
{
    return rights[right].roles == ROLES_ANYONE || (rights[right].roles & roles) != 0;
}

const char *act_right_text(enum act_right right)
{
    return rights[right].text;
}
