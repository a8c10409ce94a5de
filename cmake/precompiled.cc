// precompiled.cc - has no code: CMake wants a source beside the headers that
// yamanote_precompiled() (rooms.cmake) has parsed once for many targets.
