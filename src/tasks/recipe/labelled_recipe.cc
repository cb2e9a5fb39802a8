// Declares the fields of a recipe that describe labelled examples.
#include "tasks/recipe/labelled_recipe.h"

#include "base/format.h"

namespace clearhead::tasks {

using namespace schema;  // functions that build rows

const Schema<FoldRecipe>& fold_schema() {
  static const Schema<FoldRecipe> schema = {
      file_list("files", &FoldRecipe::files, "files whose lines are split into folds by a digest of their text"),
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

}  // namespace clearhead::tasks
