// Reads sounds of a folder or a table, padded or cut.
#include "tasks/data/sound_data.h"

#include "base/format.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/input_sound.h"
#include "tasks/data/class_folder.h"
#include "tasks/data/input_table.h"

namespace clearhead::tasks {
namespace {

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

}  // namespace

SoundFacts sounds_of(const Recipe& recipe) {
  const InputKind& kind = input_kind(what_is_read(recipe.model));
  if (kind.form != InputKind::Form::kSound || !kind.read_config) {
    fail(ErrorCode::kInvalidArgument, "{}: \"task.sounds\" is for a model that reads a sound; the model reads a {}", recipe.where,
         kind.name);
  }
  NetworkFacts facts;
  Fields model(recipe.model, recipe.where, "model");
  kind.read_config(model, facts);
  facts.sound.pads |= recipe.task->data.sounds->pad;
  facts.sound.cuts |= recipe.task->data.sounds->cut;
  return facts.sound;
}

std::vector<LabelledInput> read_sounds(const std::string& file, const Recipe& recipe) {
  const SoundFacts facts = sounds_of(recipe);
  if (const std::string& column = recipe.task->data.sounds->column; !column.empty()) {
    return read_input_table(file, recipe, column, "task.sounds.column",
                            [&](std::string_view cell, const std::string& folder, const std::string& where) {
                              try {
                                return read_one(facts, folder + "/" + std::string(cell));
                              } catch (const Error& error) {
                                fail(error.code(), "{}: {}", where, error.what());
                              }
                            });
  }
  return read_class_folder(file, recipe, "sound", [&](const std::string& path) { return read_one(facts, path); });
}

}  // namespace clearhead::tasks
