// GPT-2's byte alphabet: every byte is spelled as one printable character, U+0021..U+0143.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "text/aligned.h"

namespace clearhead::text {

/// The character of a byte: the byte itself if printable in Latin-1, else 256 + the number of
/// unprintable bytes before it.
char32_t spelled(unsigned char byte);
/// The byte of a character, or −1.
int byte_of(char32_t c);
/// The bytes that a token spells; absent if it has a character outside the alphabet.
std::optional<std::string> bytes_of(std::string_view token);
/// Spells every byte; each character gets the origin of the character that its byte belongs to.
void spell_bytes(Aligned& text);

}  // namespace clearhead::text
