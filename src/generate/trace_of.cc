// Traces a plain text, the source and the generated target of an encoder-decoder, or another input.
#include "generate/trace_of.h"

#include <utility>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/places.h"
#include "models/progress_observer.h"
#include "models/run_text.h"

namespace clearhead {
namespace {

void refuse(bool given, const ModelInfo& info, const char* what) {
  if (!given) return;
  const std::string reads = input_kind(info).is_text() ? "is an encoder-decoder" : "reads a " + info.reads;
  fail(ErrorCode::kUnsupported, "{} {}, for which {} is not supported", info.name, reads, what);
}

void check_trace(const TraceRequest& request, const Trace& trace) {
  check_ranges(request.options, trace.plan());
  check_ranges(request.interventions, trace.plan().families);
}

// The request's generated text, as the decoder's input.
WrittenText target_of(const Model& model, const TraceRequest& request) {
  return written_text(model.info().first_token, *request.written, model.shared_tokenizer().get());
}

TracedInput trace_input(const Model& model, const TraceRequest& request) {
  TracedInput out{{.trace = Trace(request.options)}};
  ProgressObserver observer(request.keep ? &out.trace : nullptr, request.progress, request.cancel);
  if (request.written) {
    const WrittenText target = target_of(model, request);
    out.result =
        run_from_input(model, request.input, target.encoding,
                       {.observer = &observer, .logits = request.logits, .text = target.text, .interventions = request.interventions});
  } else {
    out.result = observe(model, request.input, observer, request.interventions);
  }
  if (!request.keep) return out;
  out.tokens = out.trace.plan().text.tokens();
  check_trace(request, out.trace);
  return out;
}

// Traces a run over the source and the request's generated text.
TracedInput trace_again(const Model& model, const TraceRequest& request, const Encoding& source) {
  TracedInput out{{.trace = Trace(request.options)}};
  ProgressObserver observer(request.keep ? &out.trace : nullptr, request.progress, request.cancel);
  const WrittenText target = target_of(model, request);
  const RunOptions options{.observer = &observer,
                           .logits = request.logits,
                           .text = target.text,
                           .source = request.input.text,
                           .interventions = request.interventions};
  out.result = model.run_from(source, target.encoding, options);
  return out;
}

TracedInput trace_source(const Model& model, const TraceRequest& request) {
  if (request.input.text.empty()) fail(ErrorCode::kInvalidArgument, "the text is empty; pass a text, or --file, or - for standard input");
  const Encoding whole = model.tokenizer().encode(request.input.text);
  const Encoding source = truncated_to(whole, model.info().longest);
  const auto tokens = static_cast<int64_t>(whole.size()), cut = tokens - static_cast<int64_t>(source.size());
  if (cut > 0 && !request.truncate)
    fail(ErrorCode::kTooLong, "the text has {} tokens, but the model supports {} positions; use --truncate", with_commas(tokens),
         with_commas(tokens - cut));
  GenerateOptions writing = default_writing(model);
  writing.cancel = request.cancel;
  writing.run.interventions = request.interventions;
  TracedInput out = request.written ? trace_again(model, request, source) : trace_writing(model, request, source, std::move(writing));
  out.tokens = tokens;
  out.cut = cut;
  if (out.written && out.written->ids.empty())
    fail(ErrorCode::kNotFound, "{}: the model generated no token from this text", model.info().name);
  if (request.keep) check_trace(request, out.trace);
  return out;
}

}  // namespace

GenerateOptions default_writing(const Model& model) {
  return {.max_tokens = default_max_tokens(model, 256), .beams = default_beams(model, {.count = 4})};
}

TracedInput trace_writing(const Model& model, const TraceRequest& request, const Encoding& source, GenerateOptions writing) {
  TracedInput out{{.trace = Trace(request.options), .tokens = static_cast<int64_t>(source.size())}};
  ProgressObserver observer(&out.trace, request.progress, request.cancel);
  writing.progress = nullptr;
  if (request.keep) writing.run.observer = &observer;
  writing.run.text = request.input.text;
  out.written = generate_from(model, {source}, writing)[0];
  return out;
}

TracedInput trace_of(const Model& model, const TraceRequest& request) {
  const InputKind& kind = input_kind(model.info());
  if (request.written && !kind.has_target)
    fail(ErrorCode::kInvalidArgument, "{}: generated tokens were passed, but this model does not generate text from its input",
         model.info().name);
  if (kind.is_text() && !kind.has_target) return {trace_text(model, request)};
  refuse(request.window > 0, model.info(), "--window");
  refuse(!request.segments.empty(), model.info(), "a list of segments");
  refuse(request.input.pair.has_value(), model.info(), "--pair");
  if (kind.is_text()) return trace_source(model, request);
  refuse(request.truncate, model.info(), "--truncate");
  return trace_input(model, request);
}

}  // namespace clearhead
