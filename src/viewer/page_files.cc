// An offline page is a template with its markers replaced, and the data of its traces: inside the page, or as files beside it (a site).
// A page in a frame is the same template without data.
//
// The manifest escapes every '<', and blobs inside the page are base64 (page_blobs.h), so no text from a model or a user can end a script
// element.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "base/markup.h"
#include "viewer/bundle.h"
#include "viewer/page_contents.h"
#include "viewer/page_engine.h"
#include "viewer/page_template.h"

namespace clearhead::viewer {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBesideBundle = 2048;  // bytes of a page without its bundle and its data, at most
constexpr const char* kDataFolder = "data";

// JSON that is safe inside a script element.
std::string script_safe(const std::string& json) {
  std::string out;
  for (size_t at = 0; at < json.size(); ++at) {
    const std::string_view three = std::string_view(json).substr(at, 3);
    if (json[at] == '<') {
      out += "\\u003c";
    } else if (three == "\xE2\x80\xA8" || three == "\xE2\x80\xA9") {
      out += three[2] == '\xA8' ? "\\u2028" : "\\u2029";
      at += 2;
    } else {
      out += json[at];
    }
  }
  return out;
}

// Replaces every marker of the template once, in one pass, so that inserted text is never searched for markers.
std::string filled(std::string_view text, const std::vector<std::pair<std::string_view, std::string>>& markers) {
  std::vector<std::pair<size_t, size_t>> found;  // position, marker
  for (size_t m = 0; m < markers.size(); ++m) {
    const size_t at = text.find(markers[m].first);
    if (at == std::string_view::npos || text.find(markers[m].first, at + 1) != std::string_view::npos) {
      fail(ErrorCode::kFormat, "export: the page's template must contain the marker {} exactly once", markers[m].first);
    }
    found.emplace_back(at, m);
  }
  std::sort(found.begin(), found.end());
  std::string out;
  size_t from = 0;
  for (const auto& [at, m] : found) {
    out += text.substr(from, at - from);
    out += markers[m].second;
    from = at + markers[m].first.size();
  }
  return out += text.substr(from);
}

uint64_t size_of_bundle() {
  const ViewerBundle& bundle = viewer_bundle();
  return bundle.offline.size() + bundle.style.size() + bundle.script.size() + kBesideBundle;
}

std::string page_of(std::span<LoadedTrace> traces, PageContents& contents, const char* connect, const std::string& blobs) {
  const std::string data = json_element("clearhead-manifest", Json(std::move(contents.manifests))) + contents.script + blobs;
  return page_with(model_name(traces[0].trace().plan()), data, {.connect = connect, .compiles = !contents.script.empty()});
}

// The contents of a page: its data, and with models, the engine and their files.
PageContents all_contents(std::span<LoadedTrace> traces, const ExportOptions& options, BlobPlace place) {
  if (!options.with_models) return page_contents(traces, options, place, size_of_bundle());
  const PageEngine engine(traces);
  uint64_t beside = size_of_bundle() + engine.script().size();
  for (const std::string& blob : engine.blobs()) beside += bytes_in(place, blob);
  PageContents contents = page_contents(traces, options, place, beside);
  const size_t first = contents.blobs.size();
  for (size_t at = 0; at < traces.size(); ++at) contents.manifests[at]["computes"] = engine.trace(at, first);
  contents.script = engine.script();
  contents.blobs.insert(contents.blobs.end(), engine.blobs().begin(), engine.blobs().end());
  contents.told.holds.emplace_back("models");
  return contents;
}

// A folder that gets its name only when it is complete. Until then its files are in PATH.unfinished, which is removed if they remain
// incomplete. A folder of that name which exists before is refused, because it may be the user's.
class NewFolder {
 public:
  explicit NewFolder(const std::string& path) : path_(path), unfinished_(path + ".unfinished") {
    check_new_folder(path_);
    check_new_folder(unfinished_);
    make_folder(unfinished_);
  }
  ~NewFolder() {
    std::error_code ignored;
    fs::remove_all(unfinished_, ignored);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  std::string file(const std::string& name) const { return unfinished_ + "/" + name; }
  void finish() {
    std::error_code problem;
    fs::remove(path_, problem);  // an empty folder
    fs::rename(unfinished_, path_, problem);
    if (problem) fail(ErrorCode::kIo, "{}: cannot be created: {}", path_, problem.message());
  }

 private:
  std::string path_, unfinished_;
};

}  // namespace

std::string page_with(const std::string& title, const std::string& data, const PagePolicy& policy) {
  const ViewerBundle& bundle = viewer_bundle();
  return filled(bundle.offline, {{"<!--clearhead:title-->", markup_escaped(title)},
                                 {" clearhead:compile", policy.compiles ? " 'wasm-unsafe-eval'" : ""},
                                 {"clearhead:connect", policy.connect},
                                 {"/*clearhead:style*/", std::string(bundle.style)},
                                 {"<!--clearhead:data-->", data},
                                 {"/*clearhead:script*/", std::string(bundle.script)}});
}

std::string json_element(const char* id, const Json& json) {
  return format("<script type=\"application/json\" id=\"{}\">", id) + script_safe(json.dump()) + "</script>\n";
}

std::string offline_page(std::span<LoadedTrace> traces, const ExportOptions& options, ExportedPage& page) {
  PageContents contents = all_contents(traces, options, BlobPlace::kInPage);
  std::string blobs;
  for (size_t n = 0; n < contents.blobs.size(); ++n) blobs += blob_element(n, contents.blobs[n]);
  std::string out = page_of(traces, contents, "'none'", blobs);
  page = std::move(contents.told);
  page.bytes = out.size();
  return out;
}

std::string framed_page() { return page_with("clearhead", "<meta name=\"clearhead-framed\">"); }

ExportedPage export_html(std::span<LoadedTrace> traces, const std::string& path, const ExportOptions& options) {
  ExportedPage page;
  write_file(path, offline_page(traces, options, page));
  return page;
}

void check_new_folder(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(path, ignored))) return;
  if (fs::is_directory(fs::symlink_status(path, ignored)) && fs::is_empty(path, ignored)) return;
  fail(ErrorCode::kInvalidArgument, "{}: exists already; expected the name of a new folder, or an empty folder", path);
}

ExportedPage export_site(std::span<LoadedTrace> traces, const std::string& folder, const ExportOptions& options) {
  std::string path = folder;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  NewFolder site(path);  // first, so that a folder which cannot be created is refused before anything is computed
  PageContents contents = all_contents(traces, options, BlobPlace::kInFiles);
  for (Json& manifest : contents.manifests) manifest["folder"] = kDataFolder;
  const std::string page = page_of(traces, contents, "'self'", "");
  make_folder(site.file(kDataFolder));
  contents.told.bytes = page.size();
  for (size_t n = 0; n < contents.blobs.size(); ++n) {
    write_file(site.file(format("{}/{}.deflate", kDataFolder, n)), contents.blobs[n]);
    contents.told.bytes += contents.blobs[n].size();
  }
  write_file(site.file("index.html"), page);
  site.finish();
  return contents.told;
}

}  // namespace clearhead::viewer
