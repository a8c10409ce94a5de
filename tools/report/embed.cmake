# Writes OUTPUT, a C++ source with the report's parts as bytes.
# cmake -DWEB=dir -DUPLOT=dir -DOUTPUT=file -P embed.cmake

# embed(NAME files...): one constant with the files' contents, one after another.
function(embed name)
  set(bytes "")
  foreach(file IN LISTS ARGN)
    file(READ ${file} hex HEX)
    if(hex STREQUAL "")
      message(FATAL_ERROR "${file} is empty")
    endif()
    string(APPEND bytes ${hex} "0a")
  endforeach()
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes ${bytes})
  # Lines of a bounded length: compilers slow down on very long ones.
  string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes ${bytes})
  file(APPEND ${OUTPUT}.new
       "constexpr unsigned char k${name}Bytes[] = {\n${bytes}};\n")
  set(names ${names} ${name} PARENT_SCOPE)
endfunction()

file(WRITE ${OUTPUT}.new
     "// Written by tools/report/embed.cmake; do not edit.\n\n"
     "#include \"tools/report/assets.h\"\n\n"
     "namespace yamanote::report::assets {\nnamespace {\n\n")
set(names "")
embed(Page ${WEB}/report.html)
embed(Style ${UPLOT}/uPlot.min.css ${WEB}/report.css)
embed(Script ${UPLOT}/uPlot.iife.min.js ${WEB}/format.js ${WEB}/chart.js ${WEB}/table.js ${WEB}/page.js)
file(APPEND ${OUTPUT}.new "\n}  // namespace\n\n")
foreach(name IN LISTS names)
  file(APPEND ${OUTPUT}.new
       "std::string_view ${name}() {\n"
       "  return {reinterpret_cast<const char*>(k${name}Bytes), sizeof(k${name}Bytes)};\n}\n")
endforeach()
file(APPEND ${OUTPUT}.new "\n}  // namespace yamanote::report::assets\n")
file(RENAME ${OUTPUT}.new ${OUTPUT})
