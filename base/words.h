/* Words that stand for bits: a table whose last row has no word. */
#pragma once

struct word_bits {
    const char *word;
    unsigned bits;
};
