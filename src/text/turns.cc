// A turn never contains a line break, so a joined text can be split again.
#include "text/turns.h"

#include <algorithm>

namespace clearhead {

std::string as_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

std::string joined_turns(const std::vector<std::string>& turns, size_t end, int64_t before) {
  std::string out;
  const size_t begin = end - std::min(end, static_cast<size_t>(before));
  for (size_t at = begin; at < end; ++at) out += (at == begin ? "" : "\n") + as_line(turns[at]);
  return out;
}

std::string without_oldest_turn(const std::string& joined) {
  const size_t end = joined.find('\n');
  return end == std::string::npos ? "" : joined.substr(end + 1);
}

}  // namespace clearhead
