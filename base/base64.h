/* The alphabet of Base64. */
#pragma once

/** The 6 bits that a character of RFC 4648 4 stands for, or -1. */
int base64_value(char c);
