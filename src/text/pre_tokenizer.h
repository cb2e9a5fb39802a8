// The second step of encoding: the normalized text is cut into words, which the model takes one by one. "pre_tokenizer" of tokenizer.json.
//
// A cut is a range of one of the pool's texts. Steps that change bytes (a blank put in front, bytes spelled out) make new texts in the
// pool.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/aligned.h"

namespace clearhead::text {

struct Cut {
  uint32_t text = 0;            // which of the pool
  uint32_t begin = 0, end = 0;  // bytes in it; never empty
  int32_t token = -1;           // an added token found here: no step touches it
};

struct Cuts {
  std::deque<Aligned> pool;  // addresses stay
  std::vector<Cut> cuts;
  std::string_view bytes(const Cut& cut) const { return pool[cut.text].bytes().substr(cut.begin, cut.end - cut.begin); }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Cuts& cuts) const = 0;
};

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();
/// `spells`: whether bytes are spelled out here; otherwise the model takes them raw.
std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex, bool spells);

/// True if the last step spells bytes, so that a model that takes raw bytes can spare it.
bool ends_in_bytes(const Json& json);

/// Null for null. `spells`: as in make_byte_level, for the last step.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& json, std::string_view where, std::string_view path, bool spells);

}  // namespace clearhead::text
