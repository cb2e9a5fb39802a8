// WordPiece: takes the longest token at the start of the word, then repeatedly the longest continuation at the start of the
// rest. A word that cannot be covered, or has too many characters, is one unknown token. A candidate is never longer than
// the longest token, so a word costs O(length · longest).
#include <algorithm>
#include <cstring>

#include "base/format.h"
#include "base/utf8.h"
#include "text/model.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

class WordPiece : public Model {
 public:
  WordPiece(Vocabulary vocabulary, WordPieceOptions options) : options_(std::move(options)) {
    unknown = options_.unknown;
    unknown_id_ = vocabulary.find(options_.unknown);
    // Continuations are in a separate table without their prefix, so that candidates are looked up in the word itself.
    for (int32_t id = 0; id < vocabulary.end_id(); ++id) {
      if (!vocabulary.contains(id)) continue;
      const std::string_view token = vocabulary.token(id);
      if (token.size() > options_.prefix.size() && token.starts_with(options_.prefix)) {
        continuations_.add(token.substr(options_.prefix.size()), id);
      }
    }
    vocabulary_ = std::move(vocabulary);
  }

  void tokenize(std::string_view word, Scratch& scratch) const override {
    scratch.pieces.clear();
    if (!is_too_long(word) && cover(word, scratch)) return;
    if (unknown_id_ < 0) {
      fail(ErrorCode::kFormat, "the vocabulary has no \"{}\" token, and this text needs it", options_.unknown);
    }
    scratch.pieces.assign(1, {unknown_id_, 0, static_cast<uint32_t>(word.size())});
  }

 private:
  bool is_too_long(std::string_view word) const {
    if (static_cast<int64_t>(word.size()) <= options_.maximum_characters) return false;
    int64_t characters = 0;
    for (const char c : word) characters += !continues_character(c);
    return characters > options_.maximum_characters;
  }

  bool cover(std::string_view word, Scratch& scratch) const {
    for (size_t start = 0; start < word.size();) {
      const Vocabulary& tokens = start == 0 ? vocabulary_ : continuations_;
      size_t end = std::min(word.size(), start + tokens.longest());
      while (end > start && end < word.size() && continues_character(word[end])) --end;
      int32_t id = -1;
      while (end > start) {
        id = tokens.find(word.substr(start, end - start));
        if (id >= 0) break;
        end = previous_boundary(word, end);
      }
      if (id < 0) return false;
      scratch.pieces.push_back({id, static_cast<uint32_t>(start), static_cast<uint32_t>(end)});
      start = end;
    }
    return true;
  }

  WordPieceOptions options_;
  Vocabulary continuations_;
  int32_t unknown_id_ = -1;
};

}  // namespace

std::unique_ptr<Model> make_wordpiece(Vocabulary vocabulary, WordPieceOptions options) {
  return std::make_unique<WordPiece>(std::move(vocabulary), std::move(options));
}

}  // namespace clearhead::text
