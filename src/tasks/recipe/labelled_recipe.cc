// Declares the fields of a recipe that describe labelled examples.
#include "tasks/recipe/labelled_recipe.h"

namespace clearhead {

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

}  // namespace

const Schema<PictureRecipe>& picture_schema() {
  const auto has_table = [](const PictureRecipe& to) { return to.form != "cifar10"; };
  static const Schema<PictureRecipe> schema = {
      {{"form", "bits, cifar10 or files", "required",
        "bits: a cell of a table holds the pixels in hexadecimal, row by row, the most significant bit leftmost, 1 is ink · files: a cell "
        "holds the "
        "path of a PNG or JPEG file, from the data's folder · cifar10: records of one byte for the label and one byte per value"},
       [](Fields& fields, PictureRecipe& to) {
         to.form = fields.string("form");
         if (to.form != "bits" && to.form != "files" && to.form != "cifar10") fields.wrong("form", "bits, cifar10 or files", Json(to.form));
       }},
      column("column", &PictureRecipe::column, true, "bits, files: the column with the pictures; \"label\" is the column with the labels")
          .when(has_table),
      required_string("names", &PictureRecipe::names, "cifar10: a table of number and label, as in \"0<TAB>cat\"")
          .when([](const PictureRecipe& to) { return to.form == "cifar10"; }),
      object("distort", &PictureRecipe::distortion, distortion_schema(), "random changes of training pictures"),
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

}  // namespace clearhead
