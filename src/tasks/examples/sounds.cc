// Labelled sounds: class folders (tasks/data/class_folder.h), or a table whose cells have the paths of sound files, relative to the table's
// folder.
#include "base/format.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/input_sound.h"
#include "tasks/data/class_folder.h"
#include "tasks/data/input_table.h"
#include "tasks/recipe/example_kind.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

struct SoundRecipe {
  std::string column{};           // a table's column with the sounds' files; empty: class folders
  bool pad = false, cut = false;  // saved in the model's config, so that they apply wherever the model is used
};

const Schema<SoundRecipe>& sounds_schema() {
  using namespace schema;
  static const Schema<SoundRecipe> schema = {
      column("column", &SoundRecipe::column, false,
             "a table's column with the paths of sound files (WAV, FLAC, Ogg …); without it, \"train\", \"valid\" and \"test\" are folders "
             "with one subfolder of sound files for each class"),
      boolean("pad", &SoundRecipe::pad,
              "pad a sound that is shorter than the model's input with silence, instead of refusing it; saved with the model"),
      boolean("cut", &SoundRecipe::cut,
              "truncate a sound that is longer than the model's input, instead of refusing it; saved with the model"),
  };
  return schema;
}

ModelInput read_one(const SoundFacts& facts, const std::string& path) {
  Sound sound = read_sound(path);
  try {
    if (sound.rate != facts.mel.rate) {
      fail(ErrorCode::kInvalidArgument, "{} samples a second; the model reads {} (\"sound.rate\"). Resample the sound, or change the model",
           with_commas(sound.rate), with_commas(facts.mel.rate));
    }
    return {.sound = in_length(facts, std::move(sound))};
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", path, error.what());
  }
}

class Sounds final : public Examples {
 public:
  explicit Sounds(SoundRecipe recipe) : settings_(std::move(recipe)) {}

  std::vector<LabelledInput> read(const std::string& file, const Recipe& recipe, LeftOut*) const override {
    const SoundFacts facts = facts_of(recipe);
    if (settings_.column.empty())
      return read_class_folder(file, recipe, "sound", [&](const std::string& path) { return read_one(facts, path); });
    return read_input_table(file, recipe, settings_.column, "task.sounds.column",
                            [&](std::string_view cell, const std::string& folder, const std::string& where) {
                              try {
                                return read_one(facts, folder + "/" + std::string(cell));
                              } catch (const Error& error) {
                                fail(error.code(), "{}: {}", where, error.what());
                              }
                            });
  }
  bool has_label_column() const override { return !settings_.column.empty(); }
  void configure(const Recipe& recipe, Json& model) const override {
    const SoundFacts facts = facts_of(recipe);
    model["sound"]["pad"] = facts.pads;
    model["sound"]["cut"] = facts.cuts;
  }

 private:
  // The length of the sounds that the recipe's model reads, and whether sounds of other lengths are padded or cut.
  SoundFacts facts_of(const Recipe& recipe) const {
    const InputKind& kind = input_kind(what_is_read(recipe.model));
    if (kind.form != InputKind::Form::kSound || !kind.read_config) {
      fail(ErrorCode::kInvalidArgument, "{}: \"task.sounds\" is for a model that reads a sound; the model reads a {}", recipe.where,
           kind.name);
    }
    NetworkFacts facts;
    Fields model(recipe.model, recipe.where, "model");
    kind.read_config(model, facts);
    facts.sound.pads |= settings_.pad;
    facts.sound.cuts |= settings_.cut;
    return facts.sound;
  }

  SoundRecipe settings_;
};

}  // namespace

const ExampleKind& sounds_examples() {
  static const ExampleKind kind = {
      .name = "sounds",
      .reads = "spectrogram",
      .meaning = "for a model that reads spectrograms",
      .counted = "sounds",
      .arguments = "FILE.wav",
      .fields = fields_of<sounds_schema>,
      .make = make_examples<Sounds, sounds_schema>,
  };
  return kind;
}

}  // namespace clearhead::tasks
