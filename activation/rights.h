/* Who may do what: one table from an act to the roles that may ask for it. A route names the act it
 * performs (activation/routes.c); nothing else in the service decides about roles. Whose objects
 * they may be is the handler's word (act_call_organization). */
#pragma once

#include <stdbool.h>

enum act_right {
    RIGHT_HEALTH,        /* is the process alive, is it ready */
    RIGHT_METRICS,       /* counters, on the plain listener */
    RIGHT_DESCRIPTION,   /* the OpenAPI description and the public keys */
    RIGHT_TOKEN,         /* ask for an access token: the client proves itself by its secret */
    RIGHT_ORGANIZATIONS, /* make, list and change organizations */
    RIGHT_ORGANIZATION,  /* see one: an administrator any, everybody else his own */
    RIGHT_CLIENTS,       /* make, list and revoke clients */
    RIGHT_AUDIT,         /* read the events: an administrator all, an auditor his organization's */
    RIGHT_PEERS,         /* make, see, change and revoke network and application servers */
    RIGHT_KEKS,          /* make, list, choose and remove peers' key encryption keys */
    RIGHT_JOIN_ROUTES,   /* say which JoinEUIs are ours, and where the others go */
    RIGHT_PARTNERS,      /* make, see, change and revoke the join servers that others go to */
    RIGHT_AGREEMENTS,    /* say what networks have agreed upon about roaming, and in groups */
    RIGHT_ROAMING_REFUSALS, /* see what was refused: an operator all, an owner of his devices */
    RIGHT_CERTIFICATES,     /* make, change and revoke certificates of makers */
    RIGHT_ID_PAC,           /* say what was built: that becomes activable (activation/id_pac.c) */
    RIGHT_IMPORT,           /* bring in devices with their keys */
    RIGHT_BATCHES,          /* see what his organization has brought in */
    RIGHT_CODES,            /* have claim codes made for it, and read them */
    RIGHT_TEST_WINDOWS,   /* let devices of his that nobody owns yet join in a network of his choice
                           */
    RIGHT_WEBHOOKS,       /* have his organization's events posted to an address of his */
    RIGHT_CLAIM,          /* become the owner of devices by their codes */
    RIGHT_CLAIM_TTJS,     /* the same, as an application server for its users */
    RIGHT_DEVICES_CHANGE, /* suspend, resume, release, bind and name his own */
    RIGHT_MOVES,   /* move many devices at once: each move has its own right (activation/moves.c) */
    RIGHT_DEVICES, /* see what his organization holds, has brought in, and why it does not join */
    RIGHT_QUARANTINE,    /* quarantine devices of his, and an operator any; and lift it */
    RIGHT_RULES_MAKE,    /* say beforehand whose devices of a batch of his are to be */
    RIGHT_RULES,         /* see such rules by and to his organization, and end them */
    RIGHT_POLICY,        /* say what is to be done about devices of his that look cloned */
    RIGHT_OFFERS,        /* see what was offered by his organization, and to it */
    RIGHT_SUBSCRIPTIONS, /* see those that his organization uses or sold; an administrator all */
    RIGHT_SUBSCRIPTIONS_CHANGE, /* make them for anybody; change those that his organization sold */
    RIGHT_EXPORT,               /* take devices of his organization away, with their keys */
    RIGHT_JOBS,                 /* see jobs of his organization */
    RIGHT_JOBS_CANCEL,      /* cancel them: who may begin one of that kind (activation/jobs.c) */
    RIGHT_CERTIFICATES_SEE, /* see them: an administrator all, a maker his organization's */
    RIGHT_EUI_BLOCKS_MAKE,  /* give makers blocks of identifiers, and close them */
    RIGHT_EUI_BLOCKS,       /* see them: an administrator all, a maker his organization's */
    RIGHT_ORDER,            /* order credentials, and take an order back */
    RIGHT_ORDER_DECIDE,     /* approve and reject orders of other clients of his organization */
    RIGHT_FILES,            /* fetch the files of an order of his, and delete them */
    N_ACT_RIGHTS
};

#define ROLES_ANYONE 0u
#define ROLES_CLIENT 0xFFFFFFFFu /* every role */

/** The role bits (enum account_role) any one of which is enough; ROLES_ANYONE: no token needed. */
unsigned act_right_roles(enum act_right right);
/** True when a caller with these roles may do it. */
bool act_right_allows(enum act_right right, unsigned roles);
/** What the act is, as the end of "this client may not ...". */
const char *act_right_text(enum act_right right);
