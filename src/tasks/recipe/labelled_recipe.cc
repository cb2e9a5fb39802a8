// Declares the fields of a recipe that describe labelled examples.
#include "tasks/recipe/labelled_recipe.h"

#include "base/format.h"
#include "models/input_picture.h"
#include "tasks/data/picture_data.h"

namespace clearhead::tasks {

using namespace schema;  // functions that build rows

namespace {

const Schema<Distortion>& distortion_schema() {
  static const Schema<Distortion> schema = {
      number("shift", &Distortion::shift, {0, 4096}, "largest shift in pixels, in each direction"),
      number("rotate", &Distortion::rotate, {0, 180}, "largest rotation in degrees, either way"),
      number("zoom", &Distortion::zoom, {0, 0.5}, "largest relative change of the size"),
      boolean("flip", &Distortion::flip, "mirror left and right in every other picture, and independently above and below"),
  };
  return schema;
}

template <class T>
typename Schema<T>::Field some_files(std::vector<std::string> T::*member, const char* meaning) {
  return {{"files", "a list of files", "required", meaning}, [=](Fields& fields, T& to) {
            to.*member = fields.strings("files");
            if ((to.*member).empty()) fields.wrong("files", "at least one file", Json::array());
          }};
}

std::vector<std::string> form_names() {
  std::vector<std::string> names;
  for (const PictureForm* form : picture_forms()) names.emplace_back(form->name);
  return names;
}

std::string form_meanings() {
  std::string out;
  for (const PictureForm* form : picture_forms()) out += format("{}{}: {}", out.empty() ? "" : " · ", form->name, form->meaning);
  return out;
}

void read_form(Fields& fields, PictureRecipe& to) {
  const std::string given = fields.string("form");
  for (const PictureForm* form : picture_forms()) {
    if (form->name == given) to.form = form;
  }
  if (!to.form) fields.wrong("form", alternatives(form_names()), Json(given));
}

}  // namespace

const Schema<PictureRecipe>& picture_schema() {
  static const Schema<PictureRecipe> schema = {
      {{"form", alternatives(form_names()), "required", form_meanings()}, read_form},
      column("column", &PictureRecipe::column, true, "bits, files: the column with the pictures; \"label\" is the column with the labels")
          .when([](const PictureRecipe& to) { return to.form->has_columns; }),
      required_string("names", &PictureRecipe::names, "cifar10: a table of number and label, as in \"0<TAB>cat\"")
          .when([](const PictureRecipe& to) { return to.form->has_names; }),
      choice("resize", &PictureRecipe::resize, resize_names(),
             "pictures of another size than the model's are refused (none), stretched to that size, or scaled to fit into it and padded "
             "with black; saved with the model"),
      choice("resample", &PictureRecipe::resample, resampling_names(), "how \"resize\" computes pixels, with antialiasing, as in PIL")
          .when([](const PictureRecipe& to) { return to.resize != PictureResize::kNone; }),
      object("distort", &PictureRecipe::distortion, distortion_schema(), "random changes of training pictures"),
  };
  return schema;
}

const Schema<SoundRecipe>& sounds_schema() {
  static const Schema<SoundRecipe> schema = {
      column(
          "column", &SoundRecipe::column, false,
          "a table's column with the paths of sound files (WAV, FLAC, Ogg …); without it, \"train\", \"valid\" and \"test\" are folders, "
          "each of whose folders is a class"),
      boolean("pad", &SoundRecipe::pad,
              "extend a sound that is shorter than the model's with silence, instead of refusing it; saved with the model"),
      boolean("cut", &SoundRecipe::cut, "drop the end of a longer sound, instead of refusing it; saved with the model"),
  };
  return schema;
}

const Schema<SceneRecipe>& scene_schema() {
  static const Schema<SceneRecipe> schema = {
      integer("side", &SceneRecipe::side, {2, 5}, "number of pictures along each side of a scene"),
      integer("shrink", &SceneRecipe::shrink, {1}, "a pixel of a scene is the mean of shrink × shrink pixels of a picture"),
      integer("train", &SceneRecipe::train, {1}, "number of training scenes"),
      integer("valid", &SceneRecipe::valid, {1}, "number of validation scenes"),
      integer("test", &SceneRecipe::test, {1}, "number of test scenes"),
      integer("questions", &SceneRecipe::questions, {1}, "number of questions about each scene"),
      {{"fewest", "an integer of 1 or more", "every cell",
        "half of the training scenes have empty cells: the number of pictures is log-uniform from this one to all"},
       [](Fields& fields, SceneRecipe& to) {
         const int64_t cells = to.side * to.side;
         to.fewest = read_integer(fields, "fewest", cells, {1});
         if (to.fewest > cells) fields.wrong("fewest", format("at most {}, the cells of a scene", cells), Json(to.fewest));
       }},
      {{"seed", "an integer of 0 or more", "1", "seed of the scenes and their questions"},
       [](Fields& fields, SceneRecipe& to) { to.seed = static_cast<uint64_t>(read_integer(fields, "seed", 1, {0})); }},
  };
  return schema;
}

const Schema<FoldRecipe>& fold_schema() {
  static const Schema<FoldRecipe> schema = {
      some_files(&FoldRecipe::files, "files whose lines are split into folds by a digest of their text"),
      integer("count", &FoldRecipe::count, {3}, "number of folds"),
      {{"hold_out", "a fold, counted from 0", "0", "the fold for testing; the next one is for validation"},
       [](Fields& fields, FoldRecipe& to) {
         to.hold_out = read_integer(fields, "hold_out", 0, {0});
         if (to.hold_out >= to.count) fields.wrong("hold_out", format("a fold from 0 to {}", to.count - 1), Json(to.hold_out));
       }},
      boolean("validate", &FoldRecipe::validates,
              "false: no validation; the next fold is used for training too, and the model after the last step is saved"),
  };
  return schema;
}

const Schema<PassageRecipe>& passage_schema() {
  static const Schema<PassageRecipe> schema = {
      some_files(&PassageRecipe::files, "books; a passage's label is its book"),
      required_string("splits", &PassageRecipe::splits,
                      "a table of the byte positions of the training, validation and test data, as \"splits\" for texts"),
      integer("words", &PassageRecipe::words, {1}, "smallest number of words in a passage, which consists of whole sentences"),
      string("names", &PassageRecipe::names,
             "the word that replaces every name; a name is a word, except \"I\", that its book never writes without a capital letter"),
  };
  return schema;
}

}  // namespace clearhead::tasks
