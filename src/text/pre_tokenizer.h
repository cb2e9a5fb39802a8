// The second step of encoding: splits the normalized text into words, which the model receives one by one.
// "pre_tokenizer" of tokenizer.json.
//
// A cut is a range of one of the texts in the pool. Steps that change bytes (a space inserted in front, bytes spelled in
// the byte alphabet) add new texts to the pool.
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
  uint32_t text = 0;            // index into the pool
  uint32_t begin = 0, end = 0;  // bytes of that text; never empty
  int32_t token = -1;           // id of an added token, which no step changes; −1: none
};

struct Cuts {
  std::deque<Aligned> pool;  // addresses stay valid
  std::vector<Cut> cuts;
  std::string_view bytes(const Cut& cut) const { return pool[cut.text].bytes().substr(cut.begin, cut.end - cut.begin); }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Cuts& cuts) const = 0;
};

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();
/// `spells`: spell bytes here; otherwise the model receives raw bytes.
std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex, bool spells);

/// True if the last step spells bytes. A model that takes raw bytes can then skip it.
bool ends_in_bytes(const Json& json);

/// Returns null for null. `spells`: as in make_byte_level, for the last step.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& json, std::string_view where, std::string_view path, bool spells);

}  // namespace clearhead::text
