// A quantile of a forecast: the median, or the one that the target names, such as "0.95". Items are the intervals of the window and the
// features of the row that is forecast.
#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/answer_kind.h"
#include "explain/item_target.h"
#include "models/forecast.h"
#include "models/input_series.h"

namespace clearhead::explain {
namespace {

std::string name_of(double quantile) { return format("{:g}", quantile); }

class ForecastQuantile final : public ItemTarget {
 public:
  ForecastQuantile(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked)
      : ItemTarget(std::move(model), input) {
    const SeriesFacts& facts = network_.facts().series;
    rows_ = {ids_of_side(plan_, side_).size() - 1};
    find_items();
    const ForecastScale scale = forecast_scale(facts, input.series);
    const size_t at = quantile_named(*facts.forecast, asked.target);
    const double quantile = facts.forecast->quantiles[at];
    const std::string name = quantile == 0.5 ? "forecast of" : format("{:g} % quantile of", 100 * quantile);
    answer_with_number(asked, static_cast<int32_t>(at), format("{} \"{}\"", name, facts.forecast->target), logits_of(read_, {}), scale.base,
                       scale.unit * facts.forecast->deviation);
  }

 private:
  size_t quantile_named(const ForecastFacts& facts, const std::string& name) const {
    if (name.empty()) return median_of(facts);
    const std::optional<float> value = finite_number(name);
    std::string known;
    for (size_t at = 0; at < facts.quantiles.size(); ++at) {
      if (value && *value == static_cast<float>(facts.quantiles[at])) return at;
      known += (at > 0 ? ", " : "") + name_of(facts.quantiles[at]);
    }
    fail(ErrorCode::kNotFound, "{}: the target \"{}\" is not a quantile of this model; expected one of {}", model_->info().name, name,
         known);
  }
};

}  // namespace

const AnswerKind& forecast_quantile_answer() {
  static const AnswerKind kind{
      .name = "number",
      .applies = [](const ModelInfo& info) { return info.output == "forecast"; },
      .of_input = target_of_input<ForecastQuantile>,
      .choices =
          [](const Model& model) {
            std::vector<std::string> out;
            for (const double quantile : network_model(model, "forecasts nothing").facts().series.forecast->quantiles)
              out.push_back(name_of(quantile));
            return out;
          },
  };
  return kind;
}

}  // namespace clearhead::explain
