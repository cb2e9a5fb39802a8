// Pronoun resolution: names the noun that "it" refers to, as in "The animal didn't cross the street because it was too tired."
// The adjective decides: a tired animal, but a wide street (after Winograd 1972).
//
// Sentences are generated from the recipe's seed; there are no files. The training, validation and test data have no pair of nouns in
// common: a hash of the pair assigns about 80 % of all pairs to the training data, and 10 % each to the validation and test data. The
// test therefore measures generalization to new pairs.
#include "base/format.h"
#include "base/random.h"
#include "tasks/data/generated_part.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

using Words = std::vector<std::string_view>;

constexpr uint64_t kSentenceSeed = 0x70726F6E;
constexpr std::string_view kPronoun = "it";

/// A template of sentences: verbs, the nouns that can be their object, and adjectives that fit these nouns but no animal.
struct Scene {
  Words verbs{}, things{}, adjectives{};
};

const Words kAnimals = {"animal", "dog",  "cat",    "horse", "cow",  "sheep", "goat",  "donkey", "rabbit", "fox",
                        "bear",   "wolf", "monkey", "lion",  "pony", "tiger", "mouse", "bird",   "duck",   "camel"};
const Words kAnimalAdjectives = {"tired", "weak", "lazy", "sleepy", "ill", "old", "nervous", "shy", "scared", "exhausted"};
const std::vector<Scene> kScenes = {
    {{"cross"}, {"street", "road", "river", "bridge", "field", "square"}, {"wide", "icy", "busy", "slippery", "muddy"}},
    {{"climb"}, {"wall", "hill", "tree", "ladder", "fence", "tower"}, {"high", "steep", "tall"}},
    {{"eat"}, {"apple", "bread", "cake", "soup", "carrot", "cheese"}, {"hot", "sour", "rotten", "salty", "bitter"}},
    {{"carry", "push", "lift"}, {"box", "bag", "stone", "chair", "basket", "barrel"}, {"heavy", "bulky"}},
    {{"enter"}, {"cave", "barn", "house", "tunnel", "shed", "garden"}, {"dark", "narrow", "noisy"}},
};
const Words kRefusals = {"didn't", "did not", "couldn't", "could not", "wouldn't", "would not"};
const Words kDegrees = {"too", "so", "very"};
const Words kBeginnings = {"", "", "yesterday", "this morning", "in the end", "last night"};

struct Sentence {
  std::string text{}, antecedent{};
};

std::string_view draw(const Words& from, RandomSequence& random) { return from[random.roll(from.size())]; }

/// The index in TaskRecipe::kParts of the part whose sentences contain this pair of nouns.
size_t part_of(std::string_view animal, std::string_view thing) {
  uint64_t hash = 0;
  for (const std::string_view word : {animal, thing}) {
    for (const char letter : word) hash = mix_bits(hash + static_cast<uint64_t>(letter));
  }
  return hash % 10 == 0 ? 2 : hash % 10 == 1 ? 1 : 0;
}

Sentence sentence_of(size_t part, RandomSequence& random) {
  const Scene& scene = kScenes[random.roll(kScenes.size())];
  std::string_view animal, thing;
  do {
    animal = draw(kAnimals, random);
    thing = draw(scene.things, random);
  } while (part_of(animal, thing) != part);
  const bool is_animal = random.roll(2) == 0;
  const std::string_view adjective = draw(is_animal ? kAnimalAdjectives : scene.adjectives, random);
  const std::string action = format("the {} {} {} the {}", animal, draw(kRefusals, random), draw(scene.verbs, random), thing);
  const std::string reason = format("because it was {} {}", draw(kDegrees, random), adjective);
  const std::string beginning(draw(kBeginnings, random));
  std::string text = random.roll(4) == 0 ? reason + ", " + action : action + " " + reason;
  if (!beginning.empty()) text = beginning + ", " + text;
  text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return {text + ".", std::string(is_animal ? animal : thing)};
}

struct PronounRecipe {
  int64_t examples = 20000;
};

const Schema<PronounRecipe>& settings_schema() {
  static const Schema<PronounRecipe> schema = {
      schema::integer("examples", &PronounRecipe::examples, {1, 1 << 24},
                      "number of training sentences; a tenth of this number is generated for validation, and as many for testing"),
  };
  return schema;
}

std::vector<Sentence> sentences_of(const std::string& part, const Recipe& recipe) {
  auto [count, random] = generated_part(recipe, part, kSentenceSeed, recipe.task->as<PronounRecipe>().examples);
  std::vector<Sentence> out(static_cast<size_t>(count));
  for (Sentence& sentence : out) sentence = sentence_of(TaskRecipe::part_index(part), random);
  return out;
}

/// The tags: "O" for every word except the pronoun, followed by one tag for each noun.
std::vector<std::string> labels_of(const Recipe&) {
  std::vector<std::string> out = {"O"};
  out.insert(out.end(), kAnimals.begin(), kAnimals.end());
  for (const Scene& scene : kScenes) out.insert(out.end(), scene.things.begin(), scene.things.end());
  return out;
}

std::vector<Item> items_of(const std::string& part, const Recipe& recipe, const Tokenizer& tokenizer, DataSummary& summary) {
  summary.of = "sentences";
  summary.notes.push_back("generated");
  std::vector<Item> out;
  for (const Sentence& sentence : sentences_of(part, recipe)) {
    const Encoding encoding = encoded_within(tokenizer, sentence.text, "", recipe.length);
    Item item{encoding.ids, encoding.type_ids, std::vector<int32_t>(encoding.size(), -100)};
    const auto at = static_cast<int64_t>((" " + sentence.text).find(format(" {} ", kPronoun)));  // offset of the pronoun's first byte
    for (size_t token = 0; token < encoding.size(); ++token) {
      if (encoding.is_special(token)) continue;
      const auto [begin, end] = encoding.offsets[token];
      item.targets[token] = begin <= at && at < end ? recipe.task->id_of(sentence.antecedent, "a generated sentence") : 0;
    }
    out.push_back(std::move(item));
  }
  return out;
}

class PronounTask final : public TokenTask {
 public:
  PronounTask(const Recipe& recipe, const Tokenizer& tokenizer)
      : TokenTask(recipe, tokenizer,
                  [&](const std::string& part, DataSummary& summary) { return items_of(part, recipe, tokenizer, summary); }) {}

  std::vector<std::string> metric_names() const override { return {"accuracy"}; }
  Measured measured(const std::vector<Example>& examples) const override {
    return {count(examples, [](auto, auto) { return true; }), "pronouns"};
  }
  // The fraction of pronouns that are tagged with the right noun.
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    const int64_t right =
        count(examples, [&](size_t example, size_t token) { return predictions[example][token] == examples[example].targets[token]; });
    return {static_cast<double>(right) / static_cast<double>(measured(examples).count)};
  }

 private:
  // Counts the pronouns for which predicate(example index, token index) is true.
  template <class Predicate>
  static int64_t count(const std::vector<Example>& examples, const Predicate& predicate) {
    int64_t out = 0;
    for (size_t at = 0; at < examples.size(); ++at) {
      for (size_t token = 0; token < examples[at].targets.size(); ++token) out += examples[at].targets[token] > 0 && predicate(at, token);
    }
    return out;
  }
};

}  // namespace

const TaskDefinition& pronoun_resolution_task() {
  static const TaskDefinition definition = {
      .name = "pronoun-resolution",
      .description =
          "the noun that \"it\" refers to, predicted as the tag of \"it\" by an encoder with a token classifier; the data is generated",
      .data = DataFields::kGenerated,
      .class_suffix = "ForTokenClassification",
      .fields = [] { return settings_schema().describe(); },
      .read = [](Fields& fields, Recipe& to) { read_settings(settings_schema(), fields, to); },
      .commands = {{"tag", "\"The animal didn't cross the street because it was too tired.\""}},
      .labels = labels_of,
      .vocabulary_texts =
          [](const Recipe& recipe) {
            std::vector<std::string> out;
            for (const Sentence& sentence : sentences_of(recipe.task->train, recipe)) out.push_back(sentence.text);
            return out;
          },
      .make = make_task<PronounTask>,
  };
  return definition;
}

}  // namespace clearhead::tasks
