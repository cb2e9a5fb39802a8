// Traces one answer. A run of the target reads only ids, so the trace gets the target's plan, which includes the text.
#include "explain/traced.h"

#include "explain/listener.h"

namespace clearhead::explain {
namespace {

class Kept final : public Listener {
 public:
  explicit Kept(Trace& trace) : trace_(trace) {}
  bool wants(const Site& site) override { return trace_.wants(site); }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override { trace_.take(site, record, norms); }
  bool wants_gradient(const Site& site) override { return trace_.wants_gradient(site); }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    trace_.take_gradient(site, record, gradient);
  }

 private:
  Trace& trace_;
};

}  // namespace

Trace trace_with_gradients(const AttributionTarget& target, TraceOptions options, const Interventions& interventions) {
  options.gradients_of = target.answer();
  Trace trace(std::move(options));
  trace.begin(target.plan());
  Kept kept(trace);
  InputTape tape;
  target.differentiate(tape, &kept, interventions);
  return trace;
}

}  // namespace clearhead::explain
