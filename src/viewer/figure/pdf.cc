// librsvg draws a document as a whole and cannot be interrupted, so marks are drawn in groups, each as its own SVG on the same page.
//
// The functions of librsvg 2.46 and later and of cairo 1.16 and later that are called are declared here as in their headers
// (librsvg/rsvg.h, cairo-pdf.h). Their binary interfaces are stable, so the headers are not needed.
#include "viewer/figure/pdf.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/format.h"

namespace clearhead::viewer::figure {
namespace {

struct Rectangle {
  double x, y, width, height;
};
struct GlibError {
  uint32_t domain;
  int code;
  char* message;
};
using Write = int (*)(void* closure, const unsigned char* data, unsigned length);

// The functions that are called, under their names in the libraries.
struct Libraries {
  void* (*rsvg_handle_new_with_flags)(int);
  int (*rsvg_handle_write)(void*, const uint8_t*, size_t, GlibError**);
  int (*rsvg_handle_close)(void*, GlibError**);
  void (*rsvg_handle_set_dpi)(void*, double);
  int (*rsvg_handle_render_document)(void*, void*, const Rectangle*, GlibError**);
  void (*g_object_unref)(void*);
  void (*g_error_free)(GlibError*);
  void* (*cairo_pdf_surface_create_for_stream)(Write, void*, double, double);
  void (*cairo_pdf_surface_set_metadata)(void*, int, const char*);
  void* (*cairo_create)(void*);
  void (*cairo_destroy)(void*);
  void (*cairo_surface_finish)(void*);
  int (*cairo_surface_status)(void*);
  void (*cairo_surface_destroy)(void*);
  bool is_whole = true;

  Libraries() {
    void* library = ::dlopen("librsvg-2.so.2", RTLD_NOW | RTLD_LOCAL);
    const auto take = [&](auto& function, const char* name) {
      void* found = library ? ::dlsym(library, name) : nullptr;  // dlsym also searches the libraries that this one was linked with
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
      is_whole = is_whole && found;
    };
    take(rsvg_handle_new_with_flags, "rsvg_handle_new_with_flags");
    take(rsvg_handle_write, "rsvg_handle_write");
    take(rsvg_handle_close, "rsvg_handle_close");
    take(rsvg_handle_set_dpi, "rsvg_handle_set_dpi");
    take(rsvg_handle_render_document, "rsvg_handle_render_document");
    take(g_object_unref, "g_object_unref");
    take(g_error_free, "g_error_free");
    take(cairo_pdf_surface_create_for_stream, "cairo_pdf_surface_create_for_stream");
    take(cairo_pdf_surface_set_metadata, "cairo_pdf_surface_set_metadata");
    take(cairo_create, "cairo_create");
    take(cairo_destroy, "cairo_destroy");
    take(cairo_surface_finish, "cairo_surface_finish");
    take(cairo_surface_status, "cairo_surface_status");
    take(cairo_surface_destroy, "cairo_surface_destroy");
  }
};

const Libraries& libraries() {
  static const Libraries loaded;  // never unloaded, because glib does not support that
  if (!loaded.is_whole) {
    fail(ErrorCode::kUnsupported,
         "PDF needs librsvg 2.46 or later, which was not found: install librsvg2-2 (Debian, Ubuntu) or librsvg2 (Fedora), or write SVG.");
  }
  return loaded;
}

using Owned = std::unique_ptr<void, void (*)(void*)>;

// A group takes at most about half a second: 128 marks with at most 16,384 bytes of text or a million bytes of pictures, or a single mark.
constexpr size_t kMarksOfGroup = 128;
constexpr size_t kCostOfGroup = size_t{1} << 20;

size_t cost_of(const Mark& mark) {
  if (const auto* text = std::get_if<Text>(&mark)) return 64 * text->text.size();
  const auto* pixels = std::get_if<Pixels>(&mark);
  return pixels ? pixels->rgb.size() : 0;
}

// The end of the group of marks that starts at `begin`.
size_t end_of_group(const std::vector<Mark>& marks, size_t begin) {
  size_t end = begin, cost = 0;
  while (end < marks.size() && end < begin + kMarksOfGroup) {
    cost += cost_of(marks[end]);
    if (cost > kCostOfGroup && end > begin) break;
    ++end;
  }
  return end;
}

void check(const Libraries& with, int is_good, GlibError* error) {
  if (is_good) return;
  const std::string message = error && error->message ? error->message : "unknown";
  if (error) with.g_error_free(error);
  fail(ErrorCode::kFormat, "PDF: librsvg cannot draw this figure: {}", message);
}

void render(const Libraries& with, void* pen, const std::string& svg, const Rectangle& page) {
  constexpr int kUnlimited = 1;  // RSVG_HANDLE_FLAG_UNLIMITED: a raster image may exceed libxml's limit of 10 MB per attribute
  const Owned document(with.rsvg_handle_new_with_flags(kUnlimited), with.g_object_unref);
  GlibError* error = nullptr;
  check(with, with.rsvg_handle_write(document.get(), reinterpret_cast<const uint8_t*>(svg.data()), svg.size(), &error), error);
  check(with, with.rsvg_handle_close(document.get(), &error), error);
  with.rsvg_handle_set_dpi(document.get(), 72);  // one pixel is one point
  check(with, with.rsvg_handle_render_document(document.get(), pen, &page, &error), error);
}

}  // namespace

std::string pdf(const Drawing& drawing, const std::function<void(size_t drawn)>& before_group) {
  constexpr int kTitle = 0, kSubject = 2;  // cairo_pdf_metadata_t
  const Libraries& with = libraries();
  std::string out;
  const Write write = [](void* closure, const unsigned char* data, unsigned length) {
    static_cast<std::string*>(closure)->append(reinterpret_cast<const char*>(data), length);
    return 0;
  };
  const Rectangle page{0, 0, drawing.width, drawing.height};
  const Owned surface(with.cairo_pdf_surface_create_for_stream(write, &out, page.width, page.height), with.cairo_surface_destroy);
  with.cairo_pdf_surface_set_metadata(surface.get(), kTitle, drawing.title.c_str());
  with.cairo_pdf_surface_set_metadata(surface.get(), kSubject, drawing.description.c_str());
  {
    const Owned pen(with.cairo_create(surface.get()), with.cairo_destroy);
    render(with, pen.get(), svg({.width = page.width, .height = page.height}), page);  // white paper
    for (size_t begin = 0; begin < drawing.marks.size();) {
      if (before_group) before_group(begin);
      const size_t end = end_of_group(drawing.marks, begin);
      render(with, pen.get(), svg_layer(drawing, begin, end), page);
      begin = end;
    }
  }
  with.cairo_surface_finish(surface.get());
  const int status = with.cairo_surface_status(surface.get());
  if (status != 0) fail(ErrorCode::kIo, "PDF: cairo stopped with status {}", status);
  return out;
}

}  // namespace clearhead::viewer::figure
