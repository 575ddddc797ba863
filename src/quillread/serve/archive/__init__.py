"""What an archive holds, and the changes that keep it whole: functions of a session, known to API and jobs alike."""
