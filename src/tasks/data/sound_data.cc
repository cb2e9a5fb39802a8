// Reads sounds of a folder or a table, padded or cut.
#include "tasks/data/sound_data.h"

#include <algorithm>
#include <filesystem>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/input_sound.h"
#include "tasks/data/class_folder.h"
#include "tasks/data/table_header.h"
#include "tasks/data/text_data.h"

namespace clearhead {
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

std::vector<LabelledInput> read_table(const std::string& file, const Recipe& recipe, const SoundFacts& facts) {
  const std::string &sound_column = recipe.task->data.sounds->column, &label_column = recipe.task->data.label;
  const SourceText opened = open_text(recipe.source, file);
  const std::string folder = std::filesystem::path(opened.path()).parent_path().string();
  const bool is_named = !is_column_number(sound_column) || !is_column_number(label_column);
  size_t sound = 0, label = 0;
  std::vector<LabelledInput> out;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    const std::string where = format("{}, line {}", opened.path(), row.line);
    if (row.line == 1) {
      sound = column_of(sound_column, "task.sounds.column", recipe.where, row.cells, opened.path());
      label = column_of(label_column, "task.label", recipe.where, row.cells, opened.path());
      if (is_named) return;
    }
    if (const size_t most = std::max(sound, label); row.cells.size() < most)
      fail(ErrorCode::kFormat, "{}: expected {} columns with {} between, found {}", where, most, separators_of(file), row.cells.size());
    try {
      out.push_back({.input = read_one(facts, folder + "/" + std::string(row.cells[sound - 1])),
                     .label = std::string(row.cells[label - 1]),
                     .where = where});
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", where, error.what());
    }
  });
  return out;
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
  if (!recipe.task->data.sounds->column.empty()) return read_table(file, recipe, facts);
  return read_class_folder(file, recipe, "sound", [&](const std::string& path) { return read_one(facts, path); });
}

}  // namespace clearhead
