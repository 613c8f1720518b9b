/* Texts that several aggregates give. */
#pragma once

#define DB_TIME_TEXT_LEN 20 /* "2024-01-31T09:30:00Z" (RFC 3339) */
