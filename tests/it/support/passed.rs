//! `passed_on!`: methods of a disk, or of a file, that a wrapper of one does not care about. Each
//! is named, so that what a wrapper changes and what it lets through both stand in its code.

macro_rules! passed_on {
    ($to:ident: $($method:ident)*) => { $($crate::support::passed::passed_on!(@$method $to);)* };
    (@read_exact_at $to:ident) => {
        fn read_exact_at(&self, at: u64, bytes: &mut [u8]) -> chancery::store::error::Result<()> {
            self.$to.read_exact_at(at, bytes)
        }
    };
    (@write_at $to:ident) => {
        fn write_at(&self, at: u64, bytes: &[u8]) -> chancery::store::error::Result<()> {
            self.$to.write_at(at, bytes)
        }
    };
    (@sync $to:ident) => {
        fn sync(&self) -> chancery::store::error::Result<()> {
            self.$to.sync()
        }
    };
    (@set_len $to:ident) => {
        fn set_len(&self, len: u64) -> chancery::store::error::Result<()> {
            self.$to.set_len(len)
        }
    };
    (@len $to:ident) => {
        fn len(&self) -> chancery::store::error::Result<u64> {
            self.$to.len()
        }
    };
    (@exists $to:ident) => {
        fn exists(&self, path: &std::path::Path) -> chancery::store::error::Result<bool> {
            self.$to.exists(path)
        }
    };
    (@list $to:ident) => {
        fn list(
            &self,
            dir: &std::path::Path,
        ) -> chancery::store::error::Result<Vec<chancery::store::disk::Listed>> {
            self.$to.list(dir)
        }
    };
    (@rename $to:ident) => {
        fn rename(
            &self,
            from: &std::path::Path,
            to: &std::path::Path,
        ) -> chancery::store::error::Result<()> {
            self.$to.rename(from, to)
        }
    };
    (@is_private $to:ident) => {
        fn is_private(&self, path: &std::path::Path) -> chancery::store::error::Result<bool> {
            self.$to.is_private(path)
        }
    };
    (@lock $to:ident) => {
        fn lock(
            &self,
            path: &std::path::Path,
        ) -> chancery::store::error::Result<Box<dyn chancery::store::disk::DiskLock>> {
            self.$to.lock(path)
        }
    };
    // What is left takes a path and returns nothing: create_dir, remove, sync_dir.
    (@$method:ident $to:ident) => {
        fn $method(&self, path: &std::path::Path) -> chancery::store::error::Result<()> {
            self.$to.$method(path)
        }
    };
}

pub(crate) use passed_on;
