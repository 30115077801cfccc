//! A recorded DBN file: MBO, MBP-1 or trades, plain or zstd, versions 1 to 3.
//!
//! The file is never held in memory: one event is.

mod file;
mod row;
mod survey;
#[cfg(test)]
mod tests;
mod translate;

use std::path::PathBuf;

use crate::config::DbnSourceConfig;
use crate::types::{InstrumentId, Instruments, MarketEvent};

use super::batch::RecordCounts;
use super::error::SourceError;
use super::replay::{EVENT_RECORDS_MAX, Notice, Read, Records};

use file::RecordFile;
use translate::Translator;

/// A file that is open, with its instruments registered.
#[derive(Debug)]
pub(super) struct Recording {
    path: PathBuf,
    file: RecordFile,
    translator: Translator,
}

impl Recording {
    pub(super) fn open(config: &DbnSourceConfig, instruments: &mut Instruments) -> Result<Self, SourceError> {
        let surveyed = RecordFile::open(&config.path)?;
        let depth = survey::depth_of(surveyed.metadata())?;
        let recorded = survey::register(surveyed, instruments, config.paper)?;
        Ok(Self {
            path: config.path.clone(),
            file: RecordFile::open(&config.path)?,
            translator: Translator::new(depth, recorded),
        })
    }
}

impl Records for Recording {
    /// Events of several instruments that are interleaved are taken as one: no record is moved.
    fn read(&mut self, event: &mut Vec<MarketEvent>, _: &mut Vec<Notice>) -> Result<Read, SourceError> {
        event.clear();
        let mut due = None;
        loop {
            let number = self.file.records() + 1;
            let Some(record) = self.file.next()? else { return Ok(Read::End(due)) };
            let progress = self.translator.translate(number, &record, event)?;
            due = progress.due.or(due);
            if progress.ends_event {
                return Ok(Read::Event(due));
            }
            if event.len() > EVENT_RECORDS_MAX {
                return Err(SourceError::EventTooLong { record: number, max: EVENT_RECORDS_MAX });
            }
        }
    }

    fn counts(&self) -> RecordCounts {
        self.translator.counts()
    }

    fn books(&self) -> Vec<InstrumentId> {
        self.translator.with_books().collect()
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.file = RecordFile::open(&self.path)?;
        if survey::depth_of(self.file.metadata())? != self.translator.depth() {
            let found = self.file.metadata().schema.map_or("mixed".to_owned(), |schema| schema.to_string());
            return Err(SourceError::Schema { found });
        }
        self.translator.restart();
        Ok(())
    }
}
