// GPT-2's alphabet of bytes: every byte spelled as one printable character, U+0021..U+017F.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "text/aligned.h"

namespace clearhead::text {

/// The character that spells a byte: itself where printable in Latin-1, else 256 + how many unprintable ones come before.
char32_t spelled(unsigned char byte);
/// The byte a character spells, or −1.
int byte_of(char32_t c);
/// The bytes a token spells; absent if it has a character outside the alphabet.
std::optional<std::string> bytes_of(std::string_view token);
/// Spells every byte; each takes the origin of its character.
void spell_bytes(Aligned& text);

}  // namespace clearhead::text
