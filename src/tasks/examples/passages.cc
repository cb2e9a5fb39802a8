// Passages of books, labelled with their book: whole sentences until a minimum number of words is reached. Clues that identify a book
// without reading it are removed: headings, lines that name the speaker in a play, and the typist's quotation marks and dashes (which are
// normalised). With "names", every name is replaced: a word, except "I", that its book never writes without a capital letter.
#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <unordered_set>
#include <utility>

#include "base/format.h"
#include "models/input_text.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/example_kind.h"
#include "tasks/recipe/recipe.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::tasks {
namespace {

struct PassageRecipe {
  std::vector<std::string> files{};
  std::string splits{};  // as TextSource::splits
  int64_t words = 100;   // minimum number of words; a passage consists of whole sentences
  std::string names{};   // the word that replaces names of persons and places; empty: names are kept
};

const Schema<PassageRecipe>& passage_schema() {
  using namespace schema;
  static const Schema<PassageRecipe> schema = {
      file_list("files", &PassageRecipe::files, "books; a passage's label is its book"),
      required_string("splits", &PassageRecipe::splits,
                      "a table of the byte positions of the training, validation and test data, in the format of the recipe's \"splits\""),
      integer("words", &PassageRecipe::words, {1}, "smallest number of words in a passage, which consists of whole sentences"),
      string("names", &PassageRecipe::names,
             "the word that replaces every name; a name is a word, except \"I\", that its book never writes without a capital letter"),
  };
  return schema;
}

using Words = std::unordered_set<std::string>;

// Replaces typographic quotation marks, dashes and ellipses by ASCII.
std::string in_plain_marks(std::string text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kMarks = {
      {{"“", "\""}, {"”", "\""}, {"‘", "'"}, {"’", "'"}, {"—", "--"}, {"…", "..."}}};
  for (const auto& [mark, plain] : kMarks) {
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + plain.size()))
      text.replace(at, mark.size(), plain);
  }
  return text;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80; }

// The text with each word (run of letters) replaced by as(word, word in lower case).
std::string with_words(const std::string& text, const std::function<std::string(const std::string& word, const std::string& lower)>& as) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_letter(text[end])) ++end;
    if (end == at) {
      out += text[at++];
      continue;
    }
    const std::string word = text.substr(at, end - at);
    out += as(word, text::lower(word));
    at = end;
  }
  return out;
}

Words words_without_capitals(const std::string& book) {
  Words out;
  with_words(book, [&](const std::string& word, const std::string& lower) {
    if (word == lower) out.insert(word);
    return word;
  });
  return out;
}

std::string without_names(const std::string& text, const Words& lower_words, const std::string& name) {
  return with_words(text, [&](const std::string& word, const std::string& lower) {
    return word == lower || word == "I" || lower_words.contains(lower) ? word : name;
  });
}

// Recognises headings: "Chapter 5", "I.", "ADVENTURE I. A SCANDAL IN BOHEMIA", "The Arrival".
bool is_heading(const std::string& paragraph) {
  const bool has_sentence = std::any_of(paragraph.begin(), paragraph.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  return !has_sentence || is_letter(paragraph.back()) || text::lower(paragraph.substr(0, 7)) == "chapter";
}

// Recognises the first line of a speech in a play: "First Citizen:".
bool names_speaker(std::string_view line) { return line.ends_with(':') && std::count(line.begin(), line.end(), ' ') < 4; }

// Paragraphs are separated by empty lines; the lines of each are joined to one.
std::vector<std::string> paragraphs_of(std::string_view text) {
  std::vector<std::string> out(1);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text::strip(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    std::string& paragraph = out.back();
    if (line.empty() && !paragraph.empty()) out.emplace_back();
    if (line.empty() || (paragraph.empty() && names_speaker(line))) continue;
    paragraph += (paragraph.empty() ? "" : " ") + std::string(line);
  }
  std::erase_if(out, [](const std::string& paragraph) { return paragraph.empty() || is_heading(paragraph); });
  return out;
}

// Divides paragraphs into passages of at least `least` words. A shorter rest at the end is dropped.
std::vector<std::vector<std::string>> passages_of(const std::vector<std::string>& paragraphs, int64_t least) {
  std::vector<std::vector<std::string>> out;
  std::vector<std::string> passage;
  int64_t words = 0;
  for (const std::string& paragraph : paragraphs) {
    for (std::string& sentence : sentences_of(paragraph)) {
      words += 1 + std::count(sentence.begin(), sentence.end(), ' ');
      passage.push_back(std::move(sentence));
      if (words < least) continue;
      out.push_back(std::exchange(passage, {}));
      words = 0;
    }
  }
  return out;
}

class Passages final : public Examples {
 public:
  explicit Passages(PassageRecipe recipe) : settings_(std::move(recipe)) {}

  std::vector<LabelledInput> read(const std::string& part, const Recipe& recipe, LeftOut*) const override {
    std::vector<LabelledInput> out;
    for (const std::string& file : settings_.files) {
      const TextSource source{.folder = recipe.source.folder,
                              .files = {file},
                              .origin = recipe.source.origin,
                              .given_files = recipe.source.given_files,
                              .splits = settings_.splits};
      std::array<std::string, 3> parts;
      for (size_t at = 0; at < parts.size(); ++at)
        parts[at] = in_plain_marks(text::replace_invalid(read_part(source, static_cast<Part>(at)).front()));
      std::string text = parts[TaskRecipe::part_index(part)];
      if (!settings_.names.empty())
        text = without_names(text, words_without_capitals(parts[0] + "\n" + parts[1] + "\n" + parts[2]), settings_.names);
      int64_t number = 0;
      for (std::vector<std::string>& sentences : passages_of(paragraphs_of(text), settings_.words)) {
        out.push_back({.input = {.texts = std::move(sentences)},
                       .label = std::filesystem::path(file).stem().string(),
                       .where = format("{}/{}, passage {} of part {}", source.folder, file, ++number, part)});
      }
    }
    return out;
  }
  bool has_label_column() const override { return false; }
  std::vector<std::string> files() const override { return settings_.files; }

 private:
  PassageRecipe settings_;
};

}  // namespace

const ExampleKind& passages_examples() {
  static const ExampleKind kind = {
      .name = "passages",
      .reads = "document",
      .meaning = "instead of \"train\", \"valid\" and \"test\": passages of books, labelled with their book",
      .fields = fields_of<passage_schema>,
      .make = make_examples<Passages, passage_schema>,
  };
  return kind;
}

}  // namespace clearhead::tasks
