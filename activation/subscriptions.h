/* What several calls say of subscriptions. */
#pragma once

#define ACT_SUBSCRIPTION_ENDED                                                                     \
    "the subscription has ended, or has not begun: whoever sold it can extend it"
#define ACT_SUBSCRIPTION_FULL                                                                      \
    "the subscription has no place left: give one of its devices' back, or have it made larger"
#define ACT_SUBSCRIPTION_UNKNOWN "subscription_id is no subscription of your organization"
