// Splits validation data off the training data: "held_out" in a recipe is the fraction of the training examples that is used for
// validation.
//
// Examples are sorted by a hash of their content, and those with the smallest hashes are used for validation. The split therefore depends
// only on the examples, not on their order in the file; equal examples are in the same part, and most examples stay in their part if
// others are added.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "clearhead/error.h"
#include "tasks/recipe/schema.h"

namespace clearhead::tasks {

/// Returns for each example whether it is used for validation. groups: a hash of each example's content; examples with the same hash are in
/// the same split. At least one group is used for validation.   share: above 0, below 1
std::vector<bool> held_out(const std::vector<uint64_t>& groups, double share);

/// The fields "held_out" and "valid", one of which a recipe gives.   valid: the field for a validation file
template <class T>
std::vector<schema::Field<T>> validation_fields(double T::*share, schema::Field<T> valid) {
  FieldDescription description = valid.description;
  description.fallback = "required without \"held_out\"";
  return {schema::number(
              "held_out", share, {0, 0.9},
              "instead of \"valid\": the share of the training examples used for validation; identical examples stay in the same split"),
          {std::move(description), [share, read = valid.read](Fields& fields, T& to) {
             const Json* given = fields.take("valid");
             if (given && to.*share > 0)
               fields.wrong("valid", "no file together with \"held_out\", which takes the validation examples from the training data",
                            *given);
             if (!given && to.*share == 0) {
               fail(ErrorCode::kFormat,
                    "{}: \"{}\": expected a validation file, or \"held_out\" with the share of the training examples to validate on, as in "
                    "\"held_out\": 0.1",
                    fields.where(), fields.path_of("valid"));
             }
             if (given) read(fields, to);
           }}};
}

}  // namespace clearhead::tasks
