//! Tables of files, from outside.
